"""A checker that cannot fail is worthless: each invariant is shown what it must catch, and what it must let pass."""

import inspect
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from tests.chaos import checker, evidence
from tests.chaos import fold as fold_module
from tests.chaos import history as history_module
from tests.chaos.checker import STUCK, Losses, check, rows_equal_their_events
from tests.chaos.evidence import Evidence, Journal, Message, Row
from tests.chaos.fold import BrokenHistory, arrows, fold
from tests.chaos.history import Record

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
JOB, OTHER = "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"
CREATE, RETRY = "00000000-0000-7000-8000-0000000000c1", "00000000-0000-7000-8000-0000000000c2"
Spoil = Callable[[Evidence, list[Record]], object]


def _event(pos: int, version: int, kind: str, told: Row, *, job: str = JOB, command: str | None = None) -> Row:
    return {
        "pos": pos,
        "stream_id": job,
        "version": version,
        "type": f"job.{kind}.v1",
        "id": f"00000000-0000-7000-8000-{pos:012d}",
        "command_id": command,
        "actor": '{"id": "somebody", "kind": "user"}',
        "reason": None,
        "correlation_id": CREATE,
        "traceparent": "00-1-2-01",
        "at": NOON + timedelta(seconds=pos),
        "data": json.dumps({"queue": "default", "kind": "chaos.quick"} | told),
    }


def _run(run: int, before: str, after: str, **more: object) -> Row:
    return {"before": before, "after": after, "run": run, "attempt": 1, "worker": "worker1"} | more


def _events() -> list[Row]:
    """One job that failed, was retried and completed."""
    made = {"before": None, "after": "PENDING", "priority": 0, "run_at": NOON.isoformat(), "max_attempts": 1}
    error = {"type": "ValueError", "fingerprint": "0" * 16, "body": {"ref": "error", "digest": ""}}
    body = {"ref": "payload", "digest": ""}
    return [
        _event(1, 1, "created", made | {"payload": body, "unique_key": "one"}, command=CREATE),
        _event(2, 2, "started", _run(1, "PENDING", "RUNNING", lease_ms=2000)),
        _event(3, 3, "failed", _run(1, "RUNNING", "FAILED", error=error)),
        _event(4, 4, "retried", {"before": "FAILED", "after": "PENDING", "run_at": NOON.isoformat()}, command=RETRY),
        _event(5, 5, "started", _run(2, "PENDING", "RUNNING", lease_ms=2000)),
        _event(6, 6, "completed", _run(2, "RUNNING", "COMPLETED")),
    ]


def _message(event: Row) -> Message:
    headers = {
        "ce-id": event["id"],
        "ce-type": event["type"],
        "ce-subject": event["stream_id"],
        "ce-sequence": str(event["pos"]),
        "ce-streamversion": str(event["version"]),
        "ce-time": event["at"].isoformat(),
        "ce-correlationid": event["correlation_id"],
        "traceparent": event["traceparent"],
    }
    command = {"ce-commandid": event["command_id"]} if event["command_id"] else {}
    return Message(event["pos"], "jobs.evt.0.default.any", headers | command, event["data"])


def _entry(event: Row) -> Row:
    told = {"position": event["pos"], "source": "EVT_JOBS", "source_position": event["pos"], "index": 0}
    said = {"at": event["at"], "actor_id": "somebody", "command_id": event["command_id"]}
    return told | said | {"target_id": event["stream_id"]}


def _sound() -> tuple[Evidence, list[Record]]:
    events = _events()
    row = fold(events) | {"id": JOB, "lease_until": None, "ready": False}
    journal = Journal(events, position=6, messages=list(map(_message, events)), last_sequence=6)
    outcomes = {
        CREATE: {"command_id": CREATE, "status": "done", "code": None, "job_id": JOB, "position": 1},
        RETRY: {"command_id": RETRY, "status": "done", "code": None, "job_id": JOB, "position": 4},
    }
    evidence = Evidence(
        journals={"EVT_JOBS": journal, "EVT_ADMIN": Journal()},
        jobs={JOB: row},
        counts={("default", "COMPLETED"): 1},
        outcomes=outcomes,
        audit=list(map(_entry, events)),
        dead_events=0,
        bodies={"payload": '{"marker": "a-1"}'},
        now=NOON + timedelta(minutes=1),
    )
    history = [
        _record("invoke", op="a-1", verb="create"),
        _record("answer", op="a-1", status=201, command_id=CREATE, job=JOB, position=1, existing=False),
        _record("run_started", job=JOB, run=1, token="t1", worker="worker1"),
        _record("reported", job=JOB, run=1, token="t1", outcome="failed", status="accepted"),
        _record("invoke", op="a-2", verb="retry"),
        _record("answer", op="a-2", status=200, command_id=RETRY, job=JOB, position=4, existing=False),
        _record("run_started", job=JOB, run=2, token="t2", worker="worker1"),
    ]
    return evidence, history


def _record(what: str, mono: float = 10.0, **facts: object) -> Record:
    return {"what": what, "mono": mono, "sent": mono, "who": "test"} | facts


def _found(spoil: Spoil) -> dict[str, list[str]]:
    evidence, history = _sound()
    spoil(evidence, history)
    found: dict[str, list[str]] = {}
    for violation in check(evidence, history):
        found.setdefault(violation.invariant, []).append(violation.detail)
    return found


def _jobs(evidence: Evidence) -> Journal:
    return evidence.journals["EVT_JOBS"]


def test_a_sound_platform_has_no_violation() -> None:
    assert _found(lambda _evidence, _history: None) == {}


def _with_message(index: int, **changes: Any) -> Spoil:
    def spoil(evidence: Evidence, _history: list[Record]) -> None:
        messages = _jobs(evidence).messages
        messages[index] = replace(messages[index], **changes)

    return spoil


def _with_answer(**changes: object) -> Spoil:
    return lambda _evidence, history: history[1].update(changes)


def _with_row(**changes: object) -> Spoil:
    return lambda evidence, _history: evidence.jobs[JOB].update(changes)


def _with_entry(**changes: object) -> Spoil:
    return lambda evidence, _history: evidence.audit[2].update(changes)


def _other_holds_the_key(evidence: Evidence, _history: list[Record]) -> None:
    made = {"before": None, "after": "PENDING", "priority": 0, "run_at": NOON.isoformat(), "max_attempts": 1}
    _jobs(evidence).events.insert(1, _event(2, 1, "created", made | {"unique_key": "one"}, job=OTHER))


def _second_end(evidence: Evidence, _history: list[Record]) -> None:
    _jobs(evidence).events.append(_event(7, 7, "failed", _run(2, "RUNNING", "FAILED")))


def _stopped_twice(evidence: Evidence, _history: list[Record]) -> None:
    _jobs(evidence).events += [_stop(7, "stop_confirmed"), _stop(8, "finished_anyway")]


def _second_job_of_the_request(evidence: Evidence, _history: list[Record]) -> None:
    evidence.jobs[OTHER] = evidence.jobs[JOB] | {"id": OTHER}


SPOILED: dict[str, list[Spoil]] = {
    "I1": [
        lambda evidence, _: _jobs(evidence).events.pop(2),
        lambda evidence, _: _jobs(evidence).events.insert(2, _jobs(evidence).events[2]),
        lambda evidence, _: setattr(_jobs(evidence), "position", 7),
        lambda evidence, _: setattr(_jobs(evidence), "halted", "diverged"),
    ],
    "I2": [
        lambda evidence, _: _jobs(evidence).messages.pop(2),
        lambda evidence, _: _jobs(evidence).messages.append(_message(_events()[0] | {"pos": 9})),
        lambda evidence, _: setattr(_jobs(evidence), "first_sequence", 3),
        _with_message(2, sequence=4),
        _with_message(2, data='{"other": "bytes"}'),
        _with_message(2, headers=_message(_events()[2]).headers | {"ce-id": "another"}),
        _with_message(0, headers=_message(_events()[0]).headers | {"ce-commandid": RETRY}),
    ],
    "I3": [
        lambda evidence, _: evidence.outcomes.pop(CREATE),
        lambda evidence, _: evidence.outcomes[CREATE].update(status=None),
        lambda evidence, _: evidence.outcomes[CREATE].update(status="refused", code="job_exists"),
        lambda evidence, _: evidence.outcomes[CREATE].update(position=2),
        lambda evidence, _: evidence.outcomes[CREATE].update(job_id=OTHER),
        lambda evidence, _: evidence.outcomes[RETRY].update(position=None),
        lambda evidence, _: _jobs(evidence).events[0].update(command_id=RETRY),
        lambda _, history: history[5].update(position=5),
        _with_answer(job=OTHER),
        _with_answer(status=500, command_id=None),
        _with_answer(status=409, code="job_exists"),
        _with_answer(status=202, command_id="00000000-0000-7000-8000-0000000000c9"),
        lambda _, history: history.append(
            _record("answer", op="a-1", status=201, command_id=CREATE, job=OTHER, position=1, existing=False)
        ),
        lambda _, history: history.append(
            _record("decided", op="a-2", command_id=RETRY, status="refused", position=None)
        ),
        lambda _, history: history.append(
            _record("answer", op="a-1", status=503, command_id=None, code="not_accepted", surely_not=True)
        ),
        _second_job_of_the_request,
    ],
    "I4": [
        _second_end,
        _stopped_twice,
        lambda _, history: history.append(_record("run_started", job=JOB, run=2, token="t3", worker="worker2")),
        lambda _, history: history.append(_record("run_started", job=JOB, run=2, token="t2", worker="worker1")),
        lambda _, history: history.append(
            _record("reported", job=JOB, run=2, token="t2", outcome="failed", status="accepted")
        ),
    ],
    "I5": [
        _with_row(status="RUNNING"),
        _with_row(version=5),
        _with_row(position=5),
        _with_row(attempt=2),
        _with_row(error_type="ValueError"),
        _with_row(finished_at=None),
        lambda evidence, _: evidence.jobs.pop(JOB),
        lambda evidence, _: evidence.jobs.update({OTHER: evidence.jobs[JOB]}),
        lambda evidence, _: evidence.failed_now.update({"0" * 16: 1}),
        lambda evidence, _: evidence.counts.update({("default", "COMPLETED"): 2}),
        lambda evidence, _: evidence.counts.update({("default", "PENDING"): -1}),
        lambda evidence, _: _jobs(evidence).events.pop(4),
        _other_holds_the_key,
    ],
    "I6": [
        lambda evidence, _: evidence.audit.pop(2),
        lambda evidence, _: evidence.audit.pop(),
        lambda evidence, _: evidence.audit.append(_entry(_events()[0]) | {"position": 7}),
        lambda evidence, _: evidence.audit.append(_entry(_events()[0]) | {"position": 7, "source_position": 7}),
        lambda evidence, _: setattr(evidence, "dead_events", 1),
        _with_entry(actor_id="somebody else"),
        _with_entry(at=NOON),
        _with_entry(command_id=CREATE),
    ],
    "I7": [
        _with_row(status="RUNNING", lease_until=NOON),
        _with_row(status="PENDING", run_at=NOON),
        _with_row(stop="pending", finished_at=NOON, lease_until=NOON),
        lambda _, history: history.append(_record("stuck", detail="a client hangs")),
        lambda _, history: history.append(_record("undecided", op="a-9", command_id="c9", sent=5.0)),
    ],
}


@pytest.mark.parametrize(
    ("invariant", "spoil"),
    [
        pytest.param(name, spoil, id=f"{name}-{n}")
        for name, several in SPOILED.items()
        for n, spoil in enumerate(several)
    ],
)
def test_each_corruption_is_caught_by_its_invariant(invariant: str, spoil: Spoil) -> None:
    assert invariant in _found(spoil)


def test_a_lease_that_has_just_ended_is_nobodys_fault() -> None:
    def spoil(evidence: Evidence, _history: list[Record]) -> None:
        evidence.jobs[JOB] |= {"status": "RUNNING", "lease_until": evidence.now - STUCK / 2}

    assert "I7" not in _found(spoil)


def test_numbers_may_jump_only_where_an_epoch_was_opened() -> None:
    def jump(evidence: Evidence, history: list[Record]) -> None:
        for event, entry in zip(_jobs(evidence).events[3:], evidence.audit[3:], strict=True):
            event["pos"] += 10
            entry["source_position"] += 10
        evidence.jobs[JOB]["position"] += 10
        evidence.outcomes[RETRY]["position"] += 10
        history[5]["position"] += 10
        journal = _jobs(evidence)
        journal.position, journal.first_position, journal.first_sequence = 16, 14, 14
        journal.messages = list(map(_message, journal.events[3:]))

    def opened(evidence: Evidence, history: list[Record]) -> None:
        jump(evidence, history)
        history.append(_record("epoch", stream="EVT_JOBS", first=14))

    assert "I1" in _found(jump)
    assert _found(opened) == {}


def test_a_stream_may_begin_late_only_where_retention_was_announced() -> None:
    def drop(evidence: Evidence, _history: list[Record]) -> None:
        journal = _jobs(evidence)
        del journal.messages[:3]
        journal.first_sequence = 4

    def announced(evidence: Evidence, history: list[Record], *, first: int) -> None:
        drop(evidence, history)
        history.append(_record("dropped", stream="EVT_JOBS", first=first))

    assert "I2" in _found(drop)
    assert "I2" in _found(lambda evidence, history: announced(evidence, history, first=3))
    assert _found(lambda evidence, history: announced(evidence, history, first=4)) == {}


def test_what_was_answered_between_copy_and_restore_may_be_gone_and_nothing_else() -> None:
    def lose(evidence: Evidence, history: list[Record], *, answered: float) -> None:
        del evidence.outcomes[CREATE]
        history[1]["mono"] = answered
        history += [_record("copied", mono=20.0), _record("restored", mono=30.0)]

    assert "I3" in _found(lambda evidence, history: lose(evidence, history, answered=19.0))
    assert "I3" not in _found(lambda evidence, history: lose(evidence, history, answered=25.0))
    assert "I3" in _found(lambda evidence, history: lose(evidence, history, answered=31.0))


def test_a_wiped_bus_may_only_lose_commands_that_were_not_decided() -> None:
    def wipe(evidence: Evidence, history: list[Record], **answer: object) -> None:
        del evidence.outcomes[CREATE]
        history[1] |= answer
        history.append(_record("bus_wiped", mono=20.0))

    assert "I3" not in _found(lambda evidence, history: wipe(evidence, history, status=202, sent=19.0, mono=21.0))
    assert "I3" in _found(lambda evidence, history: wipe(evidence, history, status=201))
    assert "I3" in _found(lambda evidence, history: wipe(evidence, history, status=202, sent=21.0, mono=22.0))


@pytest.mark.parametrize("module", [checker, evidence, fold_module, history_module])
def test_the_checker_shares_no_code_with_the_product(module: ModuleType) -> None:
    source = inspect.getsource(module)
    assert re.findall(r"^\s*(?:from|import) jobplane", source, re.MULTILINE) == []


def test_the_diagram_is_read_from_the_document() -> None:
    assert (None, "job.created.v1", "PENDING") in arrows()
    assert ("RUNNING", "job.orphaned.v1", "FAILED") in arrows()
    assert ("COMPLETED", "job.retried.v1", "PENDING") not in arrows()


def _cancelled() -> list[Row]:
    told = {"before": "RUNNING", "after": "CANCELLED", "run": 1, "worker": "worker1"}
    return [*_events()[:2], _event(3, 3, "cancelled", told)]


def _stop(pos: int, kind: str) -> Row:
    return _event(pos, pos, kind, _run(1, "CANCELLED", "CANCELLED", outcome="completed"))


def test_a_report_of_a_stop_may_come_after_nobody_waited_for_it_and_then_no_other() -> None:
    late = [*_cancelled(), _stop(4, "stop_unconfirmed"), _stop(5, "finished_anyway")]
    assert fold(late)["stop"] == "finished_anyway"
    with pytest.raises(BrokenHistory):
        fold([*late, _stop(6, "stop_confirmed")])
    with pytest.raises(BrokenHistory):
        fold([*_cancelled(), _stop(4, "stop_confirmed"), _stop(5, "stop_unconfirmed")])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 4},
        {"data": json.dumps(_run(2, "RUNNING", "COMPLETED"))},
        {"data": json.dumps(_run(1, "PENDING", "COMPLETED"))},
        {"type": "job.retried.v1"},
    ],
)
def test_a_history_that_no_job_can_have_is_refused(change: Row) -> None:
    events = _events()[:2]
    with pytest.raises(BrokenHistory):
        fold([*events, _event(3, 3, "completed", _run(1, "RUNNING", "COMPLETED")) | change])


def test_an_archived_job_has_no_row() -> None:
    events = [*_events(), _event(7, 7, "archived", {"before": "COMPLETED", "after": "COMPLETED"})]
    sound, history = _sound()
    journal = replace(sound.journals["EVT_JOBS"], events=events)
    gone = replace(sound, journals=sound.journals | {"EVT_JOBS": journal}, jobs={}, counts={})
    assert not list(rows_equal_their_events(gone, history, Losses.of(history)))
    kept = replace(gone, jobs=sound.jobs, counts=sound.counts)
    [wrong] = rows_equal_their_events(kept, history, Losses.of(history))
    assert "although it was archived" in wrong
