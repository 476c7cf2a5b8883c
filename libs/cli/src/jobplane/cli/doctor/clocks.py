"""Whether this machine and the database agree on the time."""

import time
from typing import Final

from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Servers

_AREA: Final = Area("clock")
_WARN_S: Final = 1.0
_FAIL_S: Final = 10.0


async def check(servers: Servers) -> list[Finding]:
    """The difference, as exact as the way there is quick."""
    if servers.any is None:
        return []
    asked_at = time.time()
    row = await servers.row(servers.any, "SELECT extract(epoch FROM clock_timestamp())::float8")
    return [difference(row[0] - (asked_at + time.time()) / 2)]


def difference(seconds: float) -> Finding:
    """Positive: the database is ahead."""
    says = f"the database is {abs(seconds):.3f} s {'ahead of' if seconds > 0 else 'behind'} this machine"
    advice = "Let both follow the same time server (NTP): expiry of commands and tokens is judged by two clocks."
    return _AREA.measured("database", abs(seconds), says, advice, warn=_WARN_S, fail=_FAIL_S)
