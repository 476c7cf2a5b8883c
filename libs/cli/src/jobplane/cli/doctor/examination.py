"""One check after the other: one that breaks is a finding too, so that the others are still made."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final

from jobplane.cli import site as sites
from jobplane.cli.doctor import clocks, configuration, disk, lag, permissions, reach, topology, versions
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Away, Servers, connected, in_short
from jobplane.cli.failures import Failed
from jobplane.local.data_dir import DataDirectory

Check = Callable[[Servers], Awaitable[list[Finding]]]
CHECKS: Final[dict[str, Check]] = {
    "reachability": reach.check,
    "versions": versions.check,
    "permissions": permissions.check,
    "topology": topology.check,
    "disk": disk.check,
    "lag": lag.check,
    "clock": clocks.check,
}
_LIMIT_S: Final = 20.0


async def examine(directory: DataDirectory) -> list[Finding]:
    """Everything that can be found out."""
    found = configuration.check(directory, os.environ)
    try:
        site = sites.find(directory.root)
    except Failed as error:
        return [
            *found,
            Area("configuration").failure("platform", str(error), "Without it nothing else can be examined."),
        ]
    async with connected(site) as servers:
        for area, check in CHECKS.items():
            found += await _made(area, check, servers)
    return found


async def _made(area: str, check: Check, servers: Servers) -> list[Finding]:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await check(servers)
    except Away as error:
        says, advice = f"not examined: {error}", "Bring it back, then look again."
        return [Area(area).warning(area, says, advice)]
    except TimeoutError:
        says = f"not examined: no answer within {_LIMIT_S:g} s"
        return [Area(area).failure(area, says, "See what keeps the servers busy, then look again.")]
    except Exception as error:  # noqa: BLE001 - whatever broke this check, the others are still worth making
        says = f"could not be examined: {in_short(error)}"
        return [Area(area).failure(area, says, "Mend what the sentence names, then look again.")]
