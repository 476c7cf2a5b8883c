"""What must be true after every run; read from the events, and compared with rows, counters, outcomes and memories."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from jobplane.chassis.journal import HALTED
from jobplane.chassis.new_events import NewEvent
from jobplane.contracts.commands import CreateJob
from jobplane.contracts.envelope import CommandOutcome, trace_id_of
from jobplane.contracts.job_events import JOB_EVENTS, AnyJobEvent
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.jobs.job import Meta, fold
from jobplane.jobs.outcomes import KEY_REUSED
from jobplane.jobs.rows import ready
from tests.simulation.clients import FAR
from tests.simulation.history import History
from tests.simulation.memory_bus import MemoryBus
from tests.simulation.memory_database import MemoryDatabase

_ENDS: Final = {
    "job.completed.v1": "completed",
    "job.failed.v1": "failed",
    "job.released.v1": "released",
    "job.orphaned.v1": "orphaned",
}
_AFTER_CANCEL: Final = {
    "job.stop_confirmed.v1": "confirmed",
    "job.finished_anyway.v1": "finished anyway",
    "job.stop_unconfirmed.v1": "unconfirmed",
}
_TRUE_REPORTS: Final = {
    "completed": {"completed", "finished anyway"},
    "failed": {"failed", "finished anyway"},
    "released": {"released", "confirmed"},
    "cancelled": {"released", "confirmed"},
}
_EVENT_OF: Final = {
    "create": "job.created.v1",
    "retry": "job.retried.v1",
    "cancel": "job.cancelled.v1",
    "run": "job.force_run.v1",
    "restore": "job.restored.v1",
    "edit": "job.edited.v1",
}
_ALLOWED: Final[dict[str, frozenset[str | None]]] = {
    "job.created.v1": frozenset({None}),
    "job.started.v1": frozenset({"PENDING"}),
    "job.force_run.v1": frozenset({"PENDING"}),
    "job.released.v1": frozenset({"RUNNING"}),
    "job.completed.v1": frozenset({"RUNNING"}),
    "job.failed.v1": frozenset({"RUNNING"}),
    "job.orphaned.v1": frozenset({"RUNNING"}),
    "job.retried.v1": frozenset({"FAILED"}),
    "job.restored.v1": frozenset({"CANCELLED"}),
    "job.edited.v1": frozenset({"PENDING", "FAILED"}),
    "job.archived.v1": frozenset({"COMPLETED", "FAILED", "CANCELLED"}),
    "job.cancelled.v1": frozenset({"PENDING", "RUNNING"}),
    "job.stop_confirmed.v1": frozenset({"CANCELLED"}),
    "job.finished_anyway.v1": frozenset({"CANCELLED"}),
    "job.stop_unconfirmed.v1": frozenset({"CANCELLED"}),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """An event with its body parsed."""

    position: int
    event: NewEvent
    told: dict[str, Any]

    @property
    def of_job(self) -> bool:
        return self.event.type in JOB_EVENTS


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is there at the end."""

    database: MemoryDatabase
    history: History
    facts: list[Fact]
    dead: frozenset[str]
    """Ids of the commands among the dead letters."""

    @classmethod
    def of(cls, database: MemoryDatabase, bus: MemoryBus, history: History) -> "Evidence":
        """Everything that was left."""
        dead = frozenset(json.loads(message.data)["command_id"] for message in bus.dead)
        facts = [Fact(position, event, json.loads(event.data)) for position, event in database.events]
        return cls(database, history, facts, dead)


def violations(database: MemoryDatabase, bus: MemoryBus, history: History) -> list[str]:
    """Everything that is wrong."""
    evidence = Evidence.of(database, bus, history)
    return [f"{check.__name__}: {detail}" for check in CHECKS for detail in check(evidence)]


def positions_are_gapless(evidence: Evidence) -> Iterator[str]:
    positions = [fact.position for fact in evidence.facts]
    if positions != list(range(1, len(positions) + 1)):
        yield f"positions are {positions}"
    if evidence.database.head != len(positions):
        yield f"the head is {evidence.database.head}, there are {len(positions)} events"


def every_history_is_possible(evidence: Evidence) -> Iterator[str]:
    """Each event follows the one before it, in a status in which it may happen."""
    status: dict[str, str] = {}
    version: dict[str, int] = {}
    run: dict[str, int] = {}
    for fact in evidence.facts:
        if not fact.of_job:
            continue
        event, told, job = fact.event, fact.told, fact.event.stream_id
        before = status.get(job)
        if event.version != version.get(job, 0) + 1:
            yield f"{job}: version {event.version} after {version.get(job, 0)}"
        if told.get("before") != before or before not in _ALLOWED[event.type]:
            yield f"{job}: {event.type} from {told.get('before')} in {before}"
        started = event.type == "job.started.v1"
        if told.get("run") is not None and told["run"] != run.get(job, 0) + started:
            yield f"{job}: {event.type} of run {told['run']} during run {run.get(job, 0)}"
        status[job], version[job], run[job] = told["after"], event.version, run.get(job, 0) + started


def rows_are_their_folds(evidence: Evidence) -> Iterator[str]:
    histories: dict[str, list[Fact]] = defaultdict(list)
    for fact in evidence.facts:
        if fact.of_job:
            histories[fact.event.stream_id].append(fact)
    database = evidence.database
    if set(histories) != set(database.rows):
        yield f"events tell of {len(histories)} jobs, there are {len(database.rows)} rows"
    for row in database.rows.values():
        told = histories[row.job.id]
        try:
            folded = fold(map(_evolved, told))
        except ValueError as error:
            yield str(error)
            continue
        if folded != replace(row.job, token=None, stop_token=None):
            yield f"{row.job.id}: the row is {row.job}, its events tell {folded}"
        if told and row.position != told[-1].position:
            yield f"{row.job.id}: the row is at {row.position}, its last event at {told[-1].position}"


def _evolved(fact: Fact) -> tuple[AnyJobEvent, Meta]:
    event = fact.event
    body = JOB_EVENTS[event.type].model_validate_json(event.data)
    return body, Meta(event.stream_id, event.version, event.at, trace_id_of(event.traceparent))


def counters_are_counts(evidence: Evidence) -> Iterator[str]:
    counted = Counter((row.job.queue, row.job.status) for row in evidence.database.rows.values())
    kept = {key: n for key, n in evidence.database.counts.items() if n}
    if kept != dict(counted):
        yield f"the counters are {kept}, a recount gives {dict(counted)}"


def error_groups_are_counts(evidence: Evidence) -> Iterator[str]:
    """Each failure was counted once, and as many jobs are FAILED as each group says."""
    told = [fact.told["error"] for fact in evidence.facts if fact.of_job and fact.told.get("error")]
    failures = Counter(error["fingerprint"] for error in told)
    jobs = [row.job for row in evidence.database.rows.values() if row.job.status is JobStatus.FAILED]
    failed = Counter(job.error_fingerprint for job in jobs)
    for name, kept, counted in (
        ("failures", evidence.database.failures, failures),
        ("failed now", evidence.database.failed_now, failed),
    ):
        if {group: n for group, n in kept.items() if n} != dict(counted):
            yield f"{name} of groups are {kept}, a recount gives {dict(counted)}"


def commands_did_what_was_answered(evidence: Evidence) -> Iterator[str]:
    """One outcome per command, one event per outcome that is done, none for a refusal."""
    caused: dict[str, list[Fact]] = defaultdict(list)
    for fact in evidence.facts:
        if fact.event.command_id is not None:
            caused[fact.event.command_id].append(fact)
    for command_id, asked in evidence.history.asked.items():
        stored = evidence.database.outcomes.get(command_id)
        events = [fact for fact in caused.get(command_id, ()) if fact.of_job]
        answers = [one for one in evidence.history.answers.get(command_id, ()) if not _says_nothing(one)]
        name = f"{asked.command.type} {command_id}"
        if stored is None:
            if events or answers or command_id not in evidence.dead:
                yield f"{name} has no outcome, {len(events)} events and {len(answers)} answers"
            continue
        for one in answers:
            told = (one.status, one.code, one.position, one.job_id)
            if told != (stored.status, stored.code, stored.position, stored.job_id):
                yield f"{name} was answered {told}, kept is {stored}"
        wanted = stored.status == "done" and stored.code is None
        if [fact.position for fact in events] != ([stored.position] if wanted else []):
            yield f"{name} is {stored.code or stored.status}, its events are at {[fact.position for fact in events]}"
        for fact in events:
            yield from (f"{name}: {wrong}" for wrong in _event_is_wrong(fact, evidence, command_id))


def _event_is_wrong(fact: Fact, evidence: Evidence, command_id: str) -> Iterator[str]:
    asked = evidence.history.asked[command_id]
    if fact.event.type != _EVENT_OF[asked.command.type] or fact.event.stream_id != asked.command.target:
        yield f"it caused {fact.event.type} of {fact.event.stream_id}"
    created = isinstance(asked.command, CreateJob)
    if asked.expected_version is not None and not created and fact.event.version != asked.expected_version + 1:
        yield f"it expected version {asked.expected_version} and made {fact.event.version}"
    if fact.event.at >= asked.expires_at:
        yield "it had expired"


def _says_nothing(answer: CommandOutcome) -> bool:
    """Answers that are not the outcome of the command: writes were halted, or the id was another's."""
    return answer.code in {HALTED, KEY_REUSED.code}


def refusals_are_not_counted_twice(evidence: Evidence) -> Iterator[str]:
    """Where no connection broke, events count at most the refusals that there were; a crash may lose some."""
    if evidence.database.faults.lost_connection:
        return
    counted: Counter[str] = Counter()
    for fact in evidence.facts:
        if fact.event.type == "command.refused.v1" and fact.told["code"] != KEY_REUSED.code:
            counted[fact.told["code"]] += fact.told["count"]
    refused = Counter(stored.code for stored in evidence.database.outcomes.values() if stored.status == "refused")
    for code, n in counted.items():
        if n > refused[code]:
            yield f"{code} was refused {refused[code]} times, the events count {n}"


def runs_end_once(evidence: Evidence) -> Iterator[str]:
    """At most one outcome is accepted of each run."""
    ends: Counter[tuple[str, int]] = Counter()
    for fact in evidence.facts:
        cancelled = fact.event.type == "job.cancelled.v1" and fact.told.get("run") is not None
        if fact.event.type in _ENDS or cancelled:
            ends[fact.event.stream_id, fact.told["run"]] += 1
    yield from (f"{job}: run {run} ended {n} times" for (job, run), n in ends.items() if n > 1)


def reports_are_true(evidence: Evidence) -> Iterator[str]:
    """What a worker was told was accepted is what the journal says of that run."""
    told: dict[tuple[str, int], set[str]] = defaultdict(set)
    for fact in evidence.facts:
        how = _ENDS.get(fact.event.type) or _AFTER_CANCEL.get(fact.event.type)
        if how is not None:
            told[fact.event.stream_id, fact.told["run"]].add(how)
    for report in evidence.history.reported:
        there = told[report.run.job, report.run.run]
        if report.status == "invalid":
            yield f"{report} is called invalid"
        if report.status == "accepted" and not there & _TRUE_REPORTS[report.outcome]:
            yield f"{report} was accepted, the journal says {there}"


def runs_are_given_once(evidence: Evidence) -> Iterator[str]:
    """One worker and one token for each run, and they are those of the journal."""
    started = {
        (fact.event.stream_id, fact.told["run"]): fact.told["worker"]
        for fact in evidence.facts
        if fact.event.type == "job.started.v1"
    }
    tokens: dict[tuple[str, int], str] = {}
    for worker, run in evidence.history.leased:
        if started.get((run.job, run.run)) != worker:
            yield f"{worker} was given run {run.run} of {run.job}, the journal says {started.get((run.job, run.run))}"
        if tokens.setdefault((run.job, run.run), run.token) != run.token:
            yield f"run {run.run} of {run.job} has two tokens"


def leases_are_respected(evidence: Evidence) -> Iterator[str]:
    """No run is taken from its worker before its lease, or its time, is over."""
    begun: dict[str, Fact] = {}
    for fact in evidence.facts:
        if fact.event.type == "job.started.v1":
            begun[fact.event.stream_id] = fact
        if fact.event.type == "job.orphaned.v1":
            start = begun[fact.event.stream_id]
            lease = timedelta(milliseconds=start.told["lease_ms"])
            if fact.event.at < start.event.at + lease:
                yield f"{fact.event.stream_id} was orphaned {fact.event.at - start.event.at} after its start"


def unique_keys_are_unique(evidence: Evidence) -> Iterator[str]:
    """At no position do two jobs that wait or run hold the same key."""
    keys: dict[str, tuple[str, str]] = {}
    holders: dict[tuple[str, str], str] = {}
    for fact in evidence.facts:
        if not fact.of_job:
            continue
        job = fact.event.stream_id
        if fact.told.get("unique_key"):
            keys[job] = fact.told["kind"], fact.told["unique_key"]
        key = keys.get(job)
        if key is None:
            continue
        if fact.told["after"] in FINISHED:
            if holders.get(key) == job:
                del holders[key]
        elif holders.setdefault(key, job) != job:
            yield f"{key} is held by {holders[key]} and, at {fact.position}, by {job}"


def pauses_are_kept(evidence: Evidence) -> Iterator[str]:
    """After a pause only forced jobs start, until it is over."""
    changes = [*evidence.database.pauses]
    paused, forced = False, set[str]()
    for fact in evidence.facts:
        while changes and changes[0][0] < fact.position:
            paused = changes.pop(0)[1]
        if fact.event.type == "job.force_run.v1":
            forced.add(fact.event.stream_id)
        if fact.event.type == "job.started.v1":
            if paused and fact.event.stream_id not in forced:
                yield f"{fact.event.stream_id} was started at {fact.position}, behind a pause"
            forced.discard(fact.event.stream_id)


def nobody_waits_in_a_circle(evidence: Evidence) -> Iterator[str]:
    """All locks are taken in one order, so nobody needs the database to break a deadlock."""
    yield from evidence.database.locks.circles


def nobody_is_stuck(evidence: Evidence) -> Iterator[str]:
    """After all faults are over, every job has ended or waits for a time that is far away."""
    database = evidence.database
    now = database.now()
    for row in database.rows.values():
        job = row.job
        waits = job.status is JobStatus.PENDING and job.run_at > now + FAR / 2
        if job.status not in FINISHED and not waits:
            yield f"{job.id} is {job.status}, ready: {row.ready}, due in {job.run_at - now}"
        if job.stop == "pending":
            yield f"{job.id} is cancelled, what became of its run is still open"
        if row.ready and not ready(job, now):
            yield f"{job.id} is {job.status} and offered to workers"


def nothing_is_left_behind(evidence: Evidence) -> Iterator[str]:
    """Every body belongs to an event, and every event has its body."""
    told: set[str] = set()
    for fact in evidence.facts:
        bodies = (fact.told.get("payload"), fact.told.get("result"), (fact.told.get("error") or {}).get("body"))
        told.update(body["ref"] for body in bodies if body)
    if told != set(evidence.database.bodies):
        yield f"events refer to {len(told)} bodies, {len(evidence.database.bodies)} are kept"


CHECKS: Final[tuple[Callable[[Evidence], Iterator[str]], ...]] = (
    positions_are_gapless,
    every_history_is_possible,
    rows_are_their_folds,
    counters_are_counts,
    error_groups_are_counts,
    commands_did_what_was_answered,
    refusals_are_not_counted_twice,
    runs_end_once,
    reports_are_true,
    runs_are_given_once,
    leases_are_respected,
    unique_keys_are_unique,
    pauses_are_kept,
    nobody_waits_in_a_circle,
    nobody_is_stuck,
    nothing_is_left_behind,
)
