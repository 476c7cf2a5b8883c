"""How far everything is behind, whether anything has halted, and what could not be read."""

from typing import Final

from jobplane.cli.doctor.asking import api
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Away, Servers
from jobplane.contracts.topology import CMD, DLQ, EVT_ADMIN, EVT_JOBS, JOBS_INTAKE

_AREA: Final = Area("lag")
_JOURNALS: Final = {"jobs": EVT_JOBS, "gateway": EVT_ADMIN}
_READERS: Final = ("audit", "health")
_WARN_EVENTS: Final = 1000
_FAIL_EVENTS: Final = 10_000
_WARN_COMMANDS: Final = 1000
_FAIL_COMMANDS: Final = 10_000


async def check(servers: Servers) -> list[Finding]:
    """Relays, projections, commands, dead letters."""
    found: list[Finding] = []
    ends: dict[str, int | None] = {}
    for service, name in _JOURNALS.items():
        ends[name] = await _end(servers, name)
        found += await _relay(servers, service, ends[name])
    for service in _READERS:
        found += await _projections(servers, service, ends)
    return [*found, *await _commands(servers), *await _dead_letters(servers)]


async def _end(servers: Servers, name: str) -> int | None:
    """The last sequence of a stream; none while the bus is away or lacks it, which other checks tell."""
    if isinstance(servers.nc, str):
        return None
    answer = await api(servers.bus, f"STREAM.INFO.{name}")
    return int(answer["state"]["last_seq"])


async def _relay(servers: Servers, service: str, end: int | None) -> list[Finding]:
    try:
        position, halted = await servers.row(service, "SELECT pos, halted FROM journal_head")
    except Away:
        return []
    return relay(service, position, halted, end)


def relay(service: str, position: int, halted: str | None, end: int | None) -> list[Finding]:
    """Whether the journal takes writes, and how far the bus is behind it."""
    found = []
    if halted is not None:
        says = f"writes are halted: {halted}"
        advice = f"Find out why; to go on with both histories: `jobplane journal new-epoch {service}`."
        found.append(_AREA.failure(f"journal of {service}", says, advice))
    if end is None:
        return found
    if end > position:
        says = f"the bus is at {end:,}, the journal at {position:,}"
        advice = "The database is older than the bus: see `journal_diverged` in docs/operations.md before you go on."
        return [*found, _AREA.failure(f"relay of {service}", says, advice)]
    says = f"{position - end:,} of {position:,} events are not on the bus yet"
    advice = f"Look at NATS' disk and at `jobplane logs {service}`; the events are safe in the journal meanwhile."
    measured = _AREA.measured(f"relay of {service}", position - end, says, advice, warn=_WARN_EVENTS, fail=_FAIL_EVENTS)
    return [*found, measured]


async def _projections(servers: Servers, service: str, ends: dict[str, int | None]) -> list[Finding]:
    try:
        checkpoints = await servers.rows(service, "SELECT name, position, halted FROM checkpoint ORDER BY name")
        dead = await servers.row(service, "SELECT count(*) FROM dead_event")
    except Away:
        return []
    found = [
        projection(name, position, halted, ends.get(name.partition(".")[2])) for name, position, halted in checkpoints
    ]
    if dead[0]:
        says = f"{dead[0]:,} events could not be read and are missing from its views"
        advice = f"`jobplane dlq list --service {service}` says why; mend the cause, then replay them."
        found.append(_AREA.warning(f"dead events of {service}", says, advice))
    return found


def projection(name: str, position: int, halted: str | None, end: int | None) -> Finding:
    """How far a reader of a stream is behind it."""
    if halted is not None:
        advice = "Its stream lacks what comes next: see 'a projection is halted' in docs/operations.md."
        return _AREA.failure(name, f"halted at {position:,}: {halted}", advice)
    if end is None:
        return _AREA.ok(name, f"at {position:,}")
    behind = max(0, end - position)
    service = name.partition(".")[0]
    advice = f"It catches up by itself; if it does not, look at its CPU and at `jobplane logs {service}`."
    says = f"{behind:,} of {end:,} events behind"
    return _AREA.measured(name, behind, says, advice, warn=_WARN_EVENTS, fail=_FAIL_EVENTS)


async def _commands(servers: Servers) -> list[Finding]:
    if isinstance(servers.nc, str):
        return []
    info = await api(servers.bus, f"CONSUMER.INFO.{CMD}.{JOBS_INTAKE.name}")
    return [commands(info["num_pending"] + info["num_ack_pending"])]


def commands(waiting: int) -> Finding:
    """Commands that nobody has decided yet."""
    advice = "See whether the jobs service and its database are up: nothing is lost, clients get 202 meanwhile."
    says = f"{waiting:,} commands wait for a decision"
    return _AREA.measured("commands", waiting, says, advice, warn=_WARN_COMMANDS, fail=_FAIL_COMMANDS)


async def _dead_letters(servers: Servers) -> list[Finding]:
    if isinstance(servers.nc, str):
        return []
    info = await api(servers.bus, f"STREAM.INFO.{DLQ}")
    return [dead_letters(info["state"]["messages"])]


def dead_letters(count: int) -> Finding:
    """Messages that nobody could read."""
    if count:
        says = f"{count:,} messages are in the dead-letter queue"
        advice = "`jobplane dlq list` says why; mend the sender or the code, then replay or discard them."
        return _AREA.warning("dead letters", says, advice)
    return _AREA.ok("dead letters", "none")
