"""Whether the database, the bus, the gateway and every service answer."""

import asyncio
import time
from typing import Final

from jobplane.chassis import bus
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Servers, as_user, in_short
from jobplane.contracts.errors import JobplaneError
from jobplane.contracts.topology import USERS
from jobplane.local import connections
from jobplane.local.connections import CommandLine, NotRunning
from jobplane.local.credentials import role_of
from jobplane.local.ports import LOOPBACK

_AREA: Final = Area("reachability")
_SLOW_MS: Final = 50.0
_VERY_SLOW_MS: Final = 1000.0
_READY_S: Final = 3.0
_OK: Final = 200
_UP: Final = "Start the platform with `jobplane up`; if it should run, `jobplane logs {name}` tells why it does not."


async def check(servers: Servers) -> list[Finding]:
    """Everything that listens."""
    return [*await _database(servers), *await _bus(servers), *await _processes(servers)]


async def _database(servers: Servers) -> list[Finding]:
    down = {name: why for name, why in servers.databases.items() if isinstance(why, str)}
    if len(down) == len(servers.databases):
        advice = "Start it, or correct DATABASE_URL: nothing is decided without it, commands wait meanwhile."
        return [_AREA.failure("postgres", next(iter(down.values())), advice)]
    found = [
        _AREA.failure(
            f"postgres as {role_of(name)}",
            why,
            f"Let the role in: `jobplane up` sets its password anew ({name} waits).",
        )
        for name, why in down.items()
    ]
    service = next(name for name in servers.databases if name not in down)
    begun = time.perf_counter()
    await servers.row(service, "SELECT 1")
    took_ms = (time.perf_counter() - begun) * 1000
    says = f"{len(servers.databases) - len(down)} roles get in, an answer takes {took_ms:.1f} ms"
    advice = "See what keeps the server busy (CPU, disk, network): every command waits for it."
    return [*found, _AREA.measured("postgres", took_ms, says, advice, warn=_SLOW_MS, fail=_VERY_SLOW_MS)]


async def _bus(servers: Servers) -> list[Finding]:
    if isinstance(servers.nc, str) and (not servers.nats_answers or servers.site.credentials is None):
        advice = "Start it, or correct NATS_URL: new commands are refused without it."
        return [_AREA.failure("nats", servers.nc, advice)]
    names = [user.name for user in USERS] if servers.site.credentials is not None else []
    refused = {
        name: why
        for name, why in zip(names, await asyncio.gather(*(_refused(servers, name) for name in names)), strict=True)
        if why is not None
    }
    found = [
        _AREA.failure(
            f"nats as {name}",
            why,
            "Declare the user as in nats-users.conf: what it does for the platform stands still.",
        )
        for name, why in refused.items()
    ]
    if isinstance(servers.nc, str):
        return found
    begun = time.perf_counter()
    await servers.nc.flush(timeout=2)
    took_ms = (time.perf_counter() - begun) * 1000
    says = f"{len(names) - len(refused) or 1} users get in, a ping takes {took_ms:.1f} ms"
    advice = "See what keeps the server busy (CPU, disk, network)."
    return [*found, _AREA.measured("nats", took_ms, says, advice, warn=_SLOW_MS, fail=_VERY_SLOW_MS)]


async def _refused(servers: Servers, user: str) -> str | None:
    try:
        await bus.close(await as_user(servers.site, user))
    except JobplaneError as error:
        return str(error)
    return None


async def _processes(servers: Servers) -> list[Finding]:
    known = servers.site.credentials
    if known is None:
        return [_AREA.ok("processes", "not known here: ask the probe ports of your deployment")]
    places: dict[str, str] = {
        name: f"http://{LOOPBACK}:{known.ports[name]}" for name in ("jobs", "audit", "health") if name in known.ports
    }
    try:
        places["gateway"] = connections.read(servers.site.data.connection, CommandLine).url
    except NotRunning as error:
        return [_AREA.failure("gateway", str(error), "Run `jobplane up` once.")]
    return list(await asyncio.gather(*(_ready(name, url) for name, url in places.items())))


async def _ready(name: str, url: str) -> Finding:
    import httpx2  # noqa: PLC0415 - 0.15 s, only here

    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=_READY_S) as client:
            answer = await client.get(f"{url}/readyz")
    except (httpx2.HTTPError, OSError) as error:
        says = f"nobody answers at {url} ({in_short(error)})"
        return _AREA.failure(name, says, _UP.format(name=name))
    if answer.status_code == _OK:
        return _AREA.ok(name, f"ready at {url}")
    reason = " ".join(answer.text.split())[:200]
    return _AREA.failure(name, f"answers at {url}, but is not ready: {reason}", f"See `jobplane logs {name}`.")
