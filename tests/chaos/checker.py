"""The invariants: what must be true of journal, bus, rows, audit and clients' memories, whatever happened to them.

Pure functions of what `evidence` read and `history` recorded; an empty list means that nothing is wrong.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tests.chaos.control import DIRECTIVES, controls_are_kept
from tests.chaos.evidence import Evidence, Journal, Row
from tests.chaos.fold import BrokenHistory, differences, fold
from tests.chaos.history import Record
from tests.chaos.unfold import CHUNK, histories, of_jobs

CONTROLS: Final = {"create": "job.created.v1", "retry": "job.retried.v1", "cancel": "job.cancelled.v1"} | {
    "run": "job.force_run.v1",
    "restore": "job.restored.v1",
    "edit": "job.edited.v1",
    "clone": "job.created.v1",
}
_ENDS: Final = frozenset({"job.completed.v1", "job.failed.v1", "job.released.v1", "job.orphaned.v1"})
_STOPS: Final = frozenset({"job.stop_confirmed.v1", "job.finished_anyway.v1", "job.stop_unconfirmed.v1"})
_REPORTED: Final = {
    "completed": {"job.completed.v1", "job.finished_anyway.v1"},
    "failed": {"job.failed.v1", "job.finished_anyway.v1"},
    "released": {"job.released.v1", "job.stop_confirmed.v1"},
    "cancelled": {"job.released.v1", "job.stop_confirmed.v1"},
}
_DONE, _ACCEPTED = frozenset({200, 201}), 202
_REFUSED: Final = frozenset({404, 409, 412, 422})
_NOT_NOW: Final = frozenset({429, 503})
_NOT_STORED: Final = frozenset({"idempotency_key_reused", "invalid_request", "malformed_request"})
STUCK: Final = timedelta(seconds=12)
"""Nobody may wait longer than this for what is due: a few leases of the tests' two seconds."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that must not be."""

    invariant: str
    detail: str


@dataclass(frozen=True, slots=True)
class Losses:
    """What the faults of a history take away by announcement: a restored copy, a wiped bus, a new epoch, old events."""

    restored: tuple[tuple[float, float], ...]
    """From when the copy was taken until it was put back: what was answered between may be gone."""
    wiped: tuple[float, ...]
    """When the bus lost everything, undecided commands included."""
    epochs: frozenset[tuple[str, int]]
    """(stream, position) where an operator let the numbers jump."""
    dropped: frozenset[tuple[str, int]] = frozenset()
    """(stream, first sequence) where the retention of the bus left off."""

    @classmethod
    def of(cls, history: Sequence[Record]) -> "Losses":
        """As the fault injectors recorded them."""
        copied = [record["mono"] for record in history if record["what"] == "copied"]
        restored = [record["mono"] for record in history if record["what"] == "restored"]
        return cls(
            restored=tuple(zip(copied, restored, strict=False)),
            wiped=tuple(record["mono"] for record in history if record["what"] == "bus_wiped"),
            epochs=frozenset((record["stream"], record["first"]) for record in history if record["what"] == "epoch"),
            dropped=frozenset((record["stream"], record["first"]) for record in history if record["what"] == "dropped"),
        )

    def may_be_gone(self, answered: float) -> bool:
        """Whether what was answered then may have been restored away."""
        return any(begin <= answered <= end for begin, end in self.restored)

    def first_kept(self, stream: str) -> int:
        """The first sequence that the stream must still have."""
        return max((first for name, first in self.dropped if name == stream), default=0)

    def may_be_undecided(self, sent: float) -> bool:
        """Whether a command that was only accepted may have gone with a bus or been decided in a lost time."""
        return any(sent <= wiped for wiped in self.wiped) or any(sent <= end for _, end in self.restored)


def check(evidence: Evidence, history: Sequence[Record]) -> list[Violation]:
    """Everything that is wrong, invariant by invariant."""
    losses = Losses.of(history)
    found: list[Violation] = []
    for name, invariant in INVARIANTS.items():
        found += [Violation(name, detail) for detail in invariant(evidence, history, losses)]
    return found


def positions_are_gapless(evidence: Evidence, _history: Sequence[Record], losses: Losses) -> Iterator[str]:
    """I1: one event per position, from 1 to the head; a jump only where an operator opened a new epoch."""
    for stream, journal in evidence.journals.items():
        expected = 1
        for event in journal.events:
            if event["pos"] != expected and (stream, event["pos"]) not in losses.epochs:
                yield f"{stream} has position {event['pos']} where {expected} comes next"
            expected = event["pos"] + 1
        empty_epoch = (stream, journal.first_position) in losses.epochs and journal.position < journal.first_position
        if expected != journal.position + 1 and not empty_epoch:
            yield f"{stream}: the head says {journal.position}, the last event is {expected - 1}"
        if journal.halted is not None:
            yield f"{stream} is halted: {journal.halted}"


def bus_equals_journal(evidence: Evidence, _history: Sequence[Record], losses: Losses) -> Iterator[str]:
    """I2: sequence == position, with the same id and the same bytes; nothing missing, nothing more."""
    for stream, journal in evidence.journals.items():
        first = max(journal.first_position, losses.first_kept(stream))
        if journal.last_sequence and journal.first_sequence > first:
            yield f"{stream} begins at {journal.first_sequence}, its journal at {first}"
        events = {event["pos"]: event for event in journal.events if event["pos"] >= first}
        for message in journal.messages:
            event = events.pop(message.sequence, None)
            if event is None:
                yield f"{stream} has a message at {message.sequence} that the journal has not"
            else:
                yield from _message_differs(stream, event, message.headers, message.data)
        yield from (f"{stream} lacks position {position}" for position in events)


def _message_differs(stream: str, event: Row, headers: dict[str, str], data: str) -> Iterator[str]:
    told = {
        "ce-id": event["id"],
        "ce-type": event["type"],
        "ce-subject": event["stream_id"],
        "ce-sequence": str(event["pos"]),
        "ce-streamversion": str(event["version"]),
        "ce-time": event["at"].isoformat(),
        "ce-correlationid": event["correlation_id"],
        "traceparent": event["traceparent"],
    }
    for name, value in told.items():
        if headers.get(name) != value:
            yield f"{stream} {event['pos']}: {name} is {headers.get(name)!r}, the journal has {value!r}"
    if headers.get("ce-commandid") != event["command_id"]:
        yield f"{stream} {event['pos']}: command {headers.get('ce-commandid')}, the journal has {event['command_id']}"
    if data != event["data"]:
        yield f"{stream} {event['pos']}: its bytes are not those of the journal"


def answers_are_kept(evidence: Evidence, history: Sequence[Record], losses: Losses) -> Iterator[str]:
    """I3: what a client was answered is what the journal has: outcome, event and position; once per request."""
    events = {event["pos"]: event for event in evidence.journals["EVT_JOBS"].events}
    asked = {record["op"]: record for record in history if record["what"] == "invoke"}
    done: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
    for answer in history:
        if answer["what"] == "answer" and answer["status"] not in _DONE | _REFUSED | _NOT_NOW | {_ACCEPTED}:
            yield f"{answer['op']} was answered {answer['status']}, which no client should see: {answer.get('text')}"
        if answer["what"] != "answer" or answer.get("command_id") is None:
            continue
        gone = losses.may_be_gone(answer["mono"])
        outcome = evidence.outcomes.get(answer["command_id"])
        wrong = [*_position_is_another(answer, events)]
        if not gone:
            wrong += _outcome_is_another(answer, outcome, events, asked[answer["op"]], losses)
        yield from (f"{asked[answer['op']]['verb']} {answer['op']}: {text}" for text in wrong)
        if answer["status"] in _DONE and not gone:
            done[answer["op"]].add((answer["command_id"], answer.get("job")))
    yield from _decisions_are_kept(evidence, history, losses)
    yield from (
        f"{op} was answered in two ways: {sorted(map(str, ways))}" for op, ways in done.items() if len(ways) > 1
    )
    yield from _created_twice(evidence, history)


def _position_is_another(answer: Record, events: dict[int, Row]) -> Iterator[str]:
    """Also after a loss: a position that was told once never means another event."""
    event = events.get(answer.get("position") or 0)
    told = answer["status"] in _DONE and not answer.get("existing") and answer.get("job")
    if told and event is not None and event["stream_id"] != answer["job"]:
        yield f"position {answer['position']} was told of {answer['job']}, now it is of {event['stream_id']}"


def _outcome_is_another(
    answer: Record, outcome: Row | None, events: dict[int, Row], asked: Record, losses: Losses
) -> Iterator[str]:
    status = answer["status"]
    if outcome is None or outcome["status"] is None:
        lost = status == _ACCEPTED and losses.may_be_undecided(answer["sent"])
        if status in _DONE | _REFUSED | {_ACCEPTED} and answer.get("code") not in _NOT_STORED and not lost:
            yield f"answered {status}, but command {answer['command_id']} has no outcome"
        return
    if status in _DONE:
        if outcome["status"] != "done" or outcome["job_id"] != answer.get("job"):
            told = f"{outcome['status']} of {outcome['job_id']}"
            yield f"answered {status} about {answer.get('job')}, the outcome is {told}"
        elif not answer.get("existing"):
            event = events.get(outcome["position"] or 0)
            kind = (CONTROLS | DIRECTIVES)[asked["verb"]]
            if event is None or (event["type"], event["command_id"]) != (kind, answer["command_id"]):
                yield f"answered {status}, but there is no {kind} of it at {outcome['position']}"
            if asked["verb"] not in {"create", "clone"} and answer["position"] != outcome["position"]:
                yield f"answered with position {answer['position']}, the outcome has {outcome['position']}"
    elif (
        status in _REFUSED
        and answer.get("code") not in _NOT_STORED
        and (outcome["status"], outcome["code"]) != ("refused", answer.get("code"))
    ):
        yield f"refused with {answer.get('code')}, the outcome is {outcome['status']} {outcome['code']}"


def _decisions_are_kept(evidence: Evidence, history: Sequence[Record], losses: Losses) -> Iterator[str]:
    """What `GET /commands/{id}` told of a command that was first only accepted."""
    for record in history:
        if record["what"] == "decided" and not losses.may_be_gone(record["mono"]):
            outcome = evidence.outcomes.get(record["command_id"], {})
            if (outcome.get("status"), outcome.get("position")) != (record["status"], record["position"]):
                yield f"{record['op']} was told {record['status']} at {record['position']}, the outcome is {outcome}"


def _created_twice(evidence: Evidence, history: Sequence[Record]) -> Iterator[str]:
    """However often a request was repeated, it made at most one job; and none if it was surely not accepted."""
    markers = Counter(
        json.loads(evidence.bodies[job["payload_ref"]]).get("marker")
        for job in map(_plain_refs, evidence.jobs.values())
        if job["payload_ref"] in evidence.bodies
    )
    yield from (f"request {marker} created {n} jobs" for marker, n in markers.items() if marker and n > 1)
    refused = {r["op"] for r in history if r["what"] == "answer" and r.get("surely_not")}
    repeated = {op for op, n in Counter(r["op"] for r in history if r["what"] == "invoke").items() if n > 1}
    yield from (f"request {op} was surely not accepted, but made a job" for op in refused - repeated if markers.get(op))


def _plain_refs(job: Row) -> Row:
    return job | {"payload_ref": str(job["payload_ref"])}


def one_outcome_per_run(evidence: Evidence, history: Sequence[Record], losses: Losses) -> Iterator[str]:
    """I4: a run ends once, and what a worker was told to be accepted is what the journal has."""
    ends: dict[tuple[str, int], list[str]] = defaultdict(list)
    stops: Counter[tuple[str, int, bool]] = Counter()
    for event in of_jobs(evidence.journals["EVT_JOBS"].events):
        if event["type"] in _ENDS or event["type"] in _STOPS or event["type"] == "job.cancelled.v1":
            told = json.loads(event["data"])
            key = (event["stream_id"], told.get("run") or 0)
            if event["type"] in _STOPS:
                stops[*key, event["type"] == "job.stop_unconfirmed.v1"] += 1  # a late report may still follow it
            elif key[1]:
                ends[key].append(event["type"])
    yield from (f"run {run} of {job} ended as {types}" for (job, run), types in ends.items() if len(types) > 1)
    yield from (f"the stop of run {run} of {job} was told {n} times" for (job, run, _), n in stops.items() if n > 1)
    if not losses.restored:
        yield from _runs_were_one(history)
        yield from _accepted_reports_count(evidence, history)


def _runs_were_one(history: Sequence[Record]) -> Iterator[str]:
    """No two holders of one run: each started run has one token, and was started once."""
    started = [record for record in history if record["what"] == "run_started"]
    tokens: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in started:
        tokens[record["job"], record["run"]].add(record["token"])
    yield from (f"run {run} of {job} had {len(held)} tokens" for (job, run), held in tokens.items() if len(held) > 1)
    times = Counter((record["job"], record["run"]) for record in started)
    yield from (f"run {run} of {job} was started {n} times" for (job, run), n in times.items() if n > 1)


def _accepted_reports_count(evidence: Evidence, history: Sequence[Record]) -> Iterator[str]:
    known = {
        (event["stream_id"], json.loads(event["data"]).get("run"), event["type"])
        for event in evidence.journals["EVT_JOBS"].events
    }
    for record in history:
        if record["what"] != "reported" or record["status"] != "accepted":
            continue
        if not any((record["job"], record["run"], end) in known for end in _REPORTED[record["outcome"]]):
            yield f"{record['outcome']} of run {record['run']} of {record['job']} was accepted and is not recorded"


def rows_equal_their_events(evidence: Evidence, _history: Sequence[Record], _losses: Losses) -> Iterator[str]:
    """I5: each row is the fold of its events, counters and error groups are a recount, one job holds a unique key."""
    told_of = histories(evidence.journals["EVT_JOBS"].events)
    for job, events in told_of.items():
        archived = events[-1]["type"] == "job.archived.v1"
        try:
            told = fold(events)
        except (BrokenHistory, KeyError) as error:
            yield f"the history of {job} is broken: {error!r}"
            continue
        if archived and job in evidence.jobs:
            yield f"{job} has a row, although it was archived"
        wrong = {} if archived else differences(told, evidence.jobs.get(job, {}))
        if wrong:
            yield f"the row of {job} is not what its events tell: {wrong}"
    yield from (f"{job} has a row and no events" for job in evidence.jobs.keys() - told_of.keys())
    recount = Counter((job["queue"], job["status"]) for job in evidence.jobs.values())
    if dict(recount) != evidence.counts:
        yield f"the counters say {evidence.counts}, there are {dict(recount)}"
    failed = Counter(job["error_fingerprint"] for job in evidence.jobs.values() if job["status"] == "FAILED")
    if dict(failed) != evidence.failed_now:
        yield f"error groups say that {evidence.failed_now} are FAILED, there are {dict(failed)}"
    yield from _unique_keys_are_unique(evidence.journals["EVT_JOBS"])


def _unique_keys_are_unique(journal: Journal) -> Iterator[str]:
    keys: dict[str, tuple[str, str]] = {}
    holders: dict[tuple[str, str], str] = {}
    for event in of_jobs(journal.events):
        told = json.loads(event["data"])
        job = event["stream_id"]
        if event["type"] == "job.created.v1" and told.get("unique_key"):
            keys[job] = (told["kind"], told["unique_key"])
        key = keys.get(job)
        if key is None or "after" not in told:
            continue
        if told["after"] in {"PENDING", "RUNNING"}:
            if holders.setdefault(key, job) != job:
                yield f"at position {event['pos']} {job} and {holders[key]} hold the unique key {key[1]!r}"
        elif holders.get(key) == job:
            del holders[key]


def audit_is_complete(evidence: Evidence, _history: Sequence[Record], losses: Losses) -> Iterator[str]:
    """I6: each event has exactly one entry, entries are numbered without a gap, and none is invented."""
    positions = [entry["position"] for entry in evidence.audit]
    if positions != list(range(1, len(positions) + 1)):
        yield f"entries are not numbered 1 to {len(positions)}"
    if evidence.dead_events:
        yield f"audit could not read {evidence.dead_events} events"
    for stream, journal in evidence.journals.items():
        entries = [entry for entry in evidence.audit if entry["source"] == stream]
        events = {event["pos"]: event for event in journal.events}
        yield from _entries_equal_events(stream, entries, events, _lost_ranges(stream, journal, losses))


def _entries_equal_events(
    stream: str, entries: Sequence[Row], events: dict[int, Row], lost: Sequence[range]
) -> Iterator[str]:
    seen = Counter((entry["source_position"], entry["index"]) for entry in entries)
    yield from (f"{stream} {pos} has {n} entries of index {index}" for (pos, index), n in seen.items() if n > 1)
    audited: dict[int, list[str]] = defaultdict(list)
    for entry in entries:
        audited[entry["source_position"]].append(entry["target_id"])
    yield from (f"{stream} {position} has no entry" for position in sorted(events.keys() - audited.keys()))
    for position, targets in audited.items():
        event = events.get(position)
        of = (
            [item["job"] for item in json.loads(event["data"])["items"]]
            if event and event["type"] == CHUNK
            else targets[:1]
        )
        if event is not None and sorted(targets, key=str) != sorted(of, key=str):
            yield f"{stream} {position} tells of {of}, its entries of {targets}"
    for entry in entries:
        event = events.get(entry["source_position"])
        if event is None:
            if not any(entry["source_position"] in gap for gap in lost):
                yield f"there is an entry of {stream} {entry['source_position']}, which is not in the journal"
            continue
        actor = json.loads(event["actor"])["id"]
        if (entry["at"], entry["actor_id"], entry["command_id"]) != (event["at"], actor, event["command_id"]):
            yield f"the entry of {stream} {event['pos']} tells of another event"


def _lost_ranges(stream: str, journal: Journal, losses: Losses) -> list[range]:
    """The positions that only the stream before an epoch had."""
    firsts = sorted(first for name, first in losses.epochs if name == stream)
    known = sorted(event["pos"] for event in journal.events)
    return [range(max([0, *(pos for pos in known if pos < first)]) + 1, first) for first in firsts]


def nobody_is_stuck(evidence: Evidence, history: Sequence[Record], losses: Losses) -> Iterator[str]:
    """I7: no run outlives its lease, nothing due waits while workers idle, no stop stays open, no client unanswered."""
    late = evidence.now - STUCK
    for job in evidence.jobs.values():
        if job["status"] == "RUNNING" and (job["lease_until"] or job["started_at"]) < late:
            yield f"{job['id']} runs since {job['started_at']}, its lease ended at {job['lease_until']}"
        if job["status"] == "PENDING" and job["run_at"] < late:
            yield f"{job['id']} ({job['kind']}) waits since {job['run_at']}, ready: {job['ready']}"
        if job["stop"] == "pending" and max(job["finished_at"], job["lease_until"] or job["finished_at"]) < late:
            yield f"nobody settled the stop of {job['id']}"
    for record in history:
        if record["what"] == "stuck":
            yield str(record["detail"])
        if record["what"] == "undecided" and not losses.may_be_undecided(record["sent"]):
            yield f"command {record['command_id']} of {record['op']} was accepted and never decided"


Invariant = Callable[[Evidence, Sequence[Record], Losses], Iterable[str]]
INVARIANTS: Final[dict[str, Invariant]] = {
    "I1": positions_are_gapless,
    "I2": bus_equals_journal,
    "I3": answers_are_kept,
    "I4": one_outcome_per_run,
    "I5": rows_equal_their_events,
    "I6": audit_is_complete,
    "I7": nobody_is_stuck,
    "I9": controls_are_kept,
}
