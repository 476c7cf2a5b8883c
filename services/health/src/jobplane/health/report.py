"""Measurements → checks: what is ok, what is not, where the line is, and what to do; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from jobplane.contracts.fleet import Check, CheckStatus


@dataclass(frozen=True, slots=True)
class Measured:
    """A value that a probe read; `subject` tells apart what the same rule is applied to (a queue, a stream)."""

    rule: str
    value: float | str | None
    subject: str | None = None
    note: str | None = None
    """Why the value is a failure whatever its size, e.g. a projection that has halted."""


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A probe that got no answer: a failure of what it looks at."""

    rule: str
    reason: str
    subject: str | None = None


Measurement = Measured | Unmeasured


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a value stops being ok, and what then."""

    means: str
    """What the value is, with its unit."""
    advice: str
    """What to do when it is not ok."""
    warn: float | None = None
    fail: float | None = None
    at_least: bool = False
    """Too little is bad, instead of too much."""


RULES: Final[Mapping[str, Rule]] = {
    "postgres.latency": Rule(
        "Milliseconds that PostgreSQL takes to answer a query that does nothing",
        "Look for a busy disk or processor on the database's machine, and for long statements in pg_stat_activity",
        warn=50,
        fail=1000,
    ),
    "postgres.connections": Rule(
        "Percent of the allowed connections that are in use",
        "Stop what holds idle connections, lower pool sizes, or raise max_connections",
        warn=80,
        fail=95,
    ),
    "postgres.size": Rule("Bytes that the database takes on disk", "Compare it with the free space of the disk"),
    "postgres.oldest_transaction": Rule(
        "Seconds since the oldest open transaction began",
        "Find it in pg_stat_activity and end it: it keeps dead rows from being removed",
        warn=60,
        fail=600,
    ),
    "nats.round_trip": Rule(
        "Milliseconds that the NATS server takes to answer a ping",
        "Look for a busy disk, processor or network on the server's machine",
        warn=50,
        fail=1000,
    ),
    "nats.storage": Rule(
        "Percent of JetStream's file storage that is in use",
        "Give JetStream more room or shorten the retention of the streams: at 100 percent no event is taken",
        warn=80,
        fail=95,
    ),
    "stream.fill": Rule(
        "Percent of the stream's size limit that is in use",
        "A full command stream refuses commands, a full event stream drops its oldest events: raise the limit",
        warn=80,
        fail=95,
    ),
    "stream.drift": Rule(
        "Settings of the service's streams that are not as declared",
        "The service's log names them (streams.drift): mend the streams with the nats tool, the service alters none",
        warn=1,
    ),
    "commands.backlog": Rule(
        "Commands that are accepted but not yet decided",
        "See whether the jobs service is up and its database answers; more replicas share the work",
        warn=1000,
        fail=10_000,
    ),
    "dead_letters": Rule(
        "Messages in the dead-letter queue",
        "Read their reasons (GET /api/admin/dlq), mend the cause, then replay or discard each",
        warn=1,
    ),
    "relay.lag": Rule(
        "Events of the journal that are not on the bus yet",
        "See whether NATS is up and look for relay messages in the owner's log",
        warn=1000,
        fail=10_000,
    ),
    "projection.lag": Rule(
        "Events on the bus that the service has not folded yet",
        "Look for projection messages in the service's log; after an outage it catches up by itself",
        warn=1000,
        fail=10_000,
    ),
    "projection.dead_events": Rule(
        "Events that the service could not read and put into the dead-letter queue",
        "Its view lacks them: replay their dead letters, those that it is too old for after its upgrade",
        warn=1,
    ),
    "queue.oldest": Rule(
        "Seconds that the oldest job of the queue, ready to run, has been waiting",
        "Start more workers for the queue, or find out why its workers are slow",
        warn=300,
        fail=3600,
    ),
    "queue.stalled": Rule(
        "Seconds without a started or finished run although jobs of the queue are running",
        "See what its workers are doing: cancel runs that hang, and give the jobs a timeout",
        warn=600,
        fail=3600,
    ),
    "queues.read": Rule("Queues that have jobs", "The jobs service does not tell its counts: see whether it is up"),
    "fleet.service": Rule(
        "Processes of the service that send heartbeats",
        "Start the service again and read the end of its log",
        fail=1,
        at_least=True,
    ),
    "fleet.workers": Rule(
        "Workers that send heartbeats",
        "Start one (jobplane worker …): nobody runs the jobs that wait",
        warn=1,
        at_least=True,
    ),
    "fleet.silent": Rule(
        "Seconds since the process was last heard",
        "It stopped without saying goodbye: read the end of its log; after ten minutes it is forgotten",
        warn=0,
    ),
    "fleet.not_ready": Rule(
        "Why the process, which runs, cannot do its work just now",
        "See whether what it names is up; the process goes on by itself when that is back",
    ),
    "fleet.loop_lag": Rule(
        "Longest delay of an event loop in the last seconds, in milliseconds",
        "A process is blocked or starved of processor time: look at its CPU and its log",
        warn=500,
        fail=5000,
    ),
}
"""Every check there is, by the name it begins with."""

_SEVERITY: Final = {CheckStatus.OK: 0, CheckStatus.WARN: 1, CheckStatus.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A check that does not know yet since when it is as it is."""

    name: str
    status: CheckStatus
    value: JsonValue
    threshold: float | None
    advice: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The status that a check has, and since when."""

    status: CheckStatus
    since: datetime


def judge(measurement: Measurement) -> Verdict:
    """What a measurement means; one that could not be made is a failure."""
    rule = RULES[measurement.rule]
    name = ".".join(part for part in (measurement.rule, measurement.subject) if part)
    threshold = rule.warn if rule.warn is not None else rule.fail
    if isinstance(measurement, Unmeasured):
        return Verdict(name, CheckStatus.FAIL, None, threshold, f"{measurement.reason}. {rule.advice}.")
    status = CheckStatus.FAIL if measurement.note else _status(rule, measurement.value)
    sentences = [measurement.note, rule.means] if status is CheckStatus.OK else [measurement.note, rule.advice]
    return Verdict(name, status, measurement.value, threshold, " ".join(f"{part}." for part in sentences if part))


def stand(verdicts: Iterable[Verdict], before: Mapping[str, Standing], now: datetime) -> dict[str, Standing]:
    """By name: the status of each verdict and since when; a check that did not change keeps its instant."""
    after: dict[str, Standing] = {}
    for verdict in verdicts:
        known = before.get(verdict.name)
        same = known is not None and known.status is verdict.status
        after[verdict.name] = known if known is not None and same else Standing(verdict.status, now)
    return after


def checks(verdicts: Iterable[Verdict], standings: Mapping[str, Standing]) -> list[Check]:
    """The checks as everybody sees them, worst first, then by name."""
    found = [
        Check(
            name=verdict.name,
            status=verdict.status,
            value=verdict.value,
            threshold=verdict.threshold,
            since=standings[verdict.name].since,
            advice=verdict.advice,
        )
        for verdict in verdicts
    ]
    return sorted(found, key=lambda check: (-_SEVERITY[check.status], check.name))


def worst(found: Iterable[Check]) -> CheckStatus:
    """The status of the whole: that of the worst check."""
    return max((check.status for check in found), key=_SEVERITY.__getitem__, default=CheckStatus.OK)


def _status(rule: Rule, value: float | str | None) -> CheckStatus:
    if not isinstance(value, int | float):
        return CheckStatus.OK
    if _beyond(rule, value, rule.fail):
        return CheckStatus.FAIL
    return CheckStatus.WARN if _beyond(rule, value, rule.warn) else CheckStatus.OK


def _beyond(rule: Rule, value: float, limit: float | None) -> bool:
    if limit is None:
        return False
    return value < limit if rule.at_least else value >= limit
