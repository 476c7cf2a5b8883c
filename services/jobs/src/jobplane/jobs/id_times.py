"""The time in an id (UUIDv7): when its issuer made it, by its own clock; jobs are created a little later by ours."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from jobplane.contracts.job_filter import Span

_MS = 1000
_MOST = 2**48 - 1


class Skew(NamedTuple):
    """How many milliseconds after the time in their ids jobs were created: at least, and at most."""

    earliest_ms: int = 0
    latest_ms: int = 0

    def widened(self, created: Iterable[tuple[str, datetime]]) -> "Skew":
        """Also true for these jobs, by id."""
        found = [_ms(at) - _time_in(job_id) for job_id, at in created]
        return Skew(min(self.earliest_ms, *found), max(self.latest_ms, *found)) if found else self

    def ids(self, stretch: Span) -> tuple[str | None, str | None]:
        """The first and the last id that jobs which were created then can have."""
        since, until = stretch.since, stretch.until
        return (
            None if since is None else _id_at(_ms(since) - self.latest_ms - 1, "0"),
            None if until is None else _id_at(_ms(until) - self.earliest_ms + 1, "f"),
        )


def _time_in(job_id: str) -> int:
    return int(job_id[:8] + job_id[9:13], 16)


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * _MS)


def _id_at(ms: int, rest: str) -> str:
    told = f"{min(max(ms, 0), _MOST):012x}" + rest * 20
    return f"{told[:8]}-{told[8:12]}-{told[12:16]}-{told[16:20]}-{told[20:]}"
