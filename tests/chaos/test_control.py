"""The checker of operations and queues can fail, too: what it must catch, and what it must let pass."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.chaos.checker import Losses
from tests.chaos.control import controls_are_kept
from tests.chaos.evidence import Evidence, Journal, Row
from tests.chaos.history import Record
from tests.chaos.unfold import CHUNK, histories

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
A, B = "00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"
FIRST, UNDO = "00000000-0000-7000-8000-0000000000f1", "00000000-0000-7000-8000-0000000000f2"
QUEUE = "00000000-0000-7000-8000-00000000001d"
Spoil = Callable[[Evidence, list[Record]], object]


def _events() -> list[Row]:
    """Two jobs are cancelled together; one is restored by hand, the other by the undo; a queue is paused meanwhile."""
    of_job = {"queue": "side", "kind": "chaos.quick"}
    made = of_job | {"before": None, "after": "PENDING", "priority": 0, "run_at": NOON.isoformat(), "max_attempts": 1}
    cancelled = [{"job": job, "version": 2, **of_job, "before": "PENDING"} for job in (A, B)]
    restored = of_job | {"before": "CANCELLED", "after": "PENDING", "attempt": 0}
    began = restored | {"before": "PENDING", "after": "RUNNING", "run": 1, "attempt": 1, "worker": "w", "lease_ms": 9}
    told: list[tuple[str, int, str, Row]] = [
        (A, 1, "job.created.v1", made),
        (B, 1, "job.created.v1", made),
        (FIRST, 1, "operation.requested.v1", {"action": "cancel"}),
        (FIRST, 2, "operation.planned.v1", {"action": "cancel", "total": 2}),
        (FIRST, 3, "operation.started.v1", {"action": "cancel", "total": 2}),
        (FIRST, 4, CHUNK, {"type": "job.cancelled.v1", "shared": {"after": "CANCELLED"}, "items": cancelled}),
        (FIRST, 5, "operation.finished.v1", {"action": "cancel", "done": 2}),
        (B, 3, "job.restored.v1", restored),
        (QUEUE, 1, "queue.paused.v1", {"queue": "side"}),
        (UNDO, 1, "operation.requested.v1", {"action": "restore", "undo_of": FIRST}),
        (UNDO, 2, "operation.planned.v1", {"action": "restore", "total": 2}),
        (UNDO, 3, "operation.started.v1", {"action": "restore", "total": 2}),
        (UNDO, 4, CHUNK, {"type": "job.restored.v1", "shared": restored, "items": [{"job": A, "version": 3}]}),
        (UNDO, 5, "operation.finished.v1", {"action": "restore", "done": 1, "skipped": {"changed_since": 1}}),
        (QUEUE, 2, "queue.resumed.v1", {"queue": "side"}),
        (B, 4, "job.started.v1", began),
        (QUEUE, 3, "queue.limited.v1", {"queue": "side", "before": {}, "after": {"concurrency": 2}}),
    ]
    return [
        {
            "pos": pos,
            "stream_id": stream,
            "version": version,
            "type": kind,
            "at": NOON + timedelta(seconds=pos),
            "data": json.dumps(body),
        }
        for pos, (stream, version, kind, body) in enumerate(told, start=1)
    ]


def _sound() -> tuple[Evidence, list[Record]]:
    operation: Row = {"status": "done", "version": 5, "total": 2}
    item: Row = {"operation": FIRST, "code": None, "version": 2, "position": 6}
    events = _events()
    evidence = Evidence(
        journals={"EVT_JOBS": Journal(events, position=len(events))},
        jobs={},
        counts={},
        outcomes={},
        audit=[],
        dead_events=0,
        bodies={},
        now=NOON,
        operations={
            FIRST: operation | {"done": 2, "codes": {}},
            UNDO: operation | {"done": 1, "codes": {"changed_since": 1}},
        },
        items=[
            item | {"job": A},
            item | {"job": B},
            {"operation": UNDO, "job": A, "code": None, "version": 3, "position": 13},
            {"operation": UNDO, "job": B, "code": "changed_since", "version": None, "position": None},
        ],
        controls={"queue:side": {"key": "queue:side", "version": 3, "paused": None, "limits": {"concurrency": 2}}},
    )
    return evidence, [_answer("c-1", FIRST), _answer("c-1", FIRST)]


def _answer(op: str, operation: str) -> Record:
    return {"what": "answer", "op": op, "operation": operation, "mono": 10.0, "status": 202}


def _found(spoil: Spoil) -> list[str]:
    evidence, history = _sound()
    spoil(evidence, history)
    return list(controls_are_kept(evidence, history, Losses.of(history)))


def _event(evidence: Evidence, pos: int) -> Row:
    return evidence.journals["EVT_JOBS"].events[pos - 1]


def _with_body(pos: int, **changes: Any) -> Spoil:
    def spoil(evidence: Evidence, _history: list[Record]) -> None:
        event = _event(evidence, pos)
        event["data"] = json.dumps(json.loads(event["data"]) | changes)

    return spoil


def _swapped(evidence: Evidence, first: int, second: int) -> None:
    """Two events in each other's place."""
    events = evidence.journals["EVT_JOBS"].events
    events[first - 1], events[second - 1] = events[second - 1], events[first - 1]


def test_what_is_sound_passes() -> None:
    assert _found(lambda _evidence, _history: None) == []


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda e, _: e.operations.pop(FIRST), "has events and no row"),
        (lambda e, _: e.operations.update({A: {}}), "has a row and no events"),
        (lambda e, _: e.operations[FIRST].update(status="stopped"), "its events say done"),
        (lambda e, _: e.operations[FIRST].update(done=1), "it counts 1 done"),
        (lambda e, _: e.operations[UNDO].update(codes={}), "it counts 1 done and {}"),
        (lambda e, _: e.items.append(dict(e.items[0])), "is 2 of its items"),
        (lambda e, _: e.items[0].update(code="job_finished"), "was done and skipped"),
        (lambda e, _: e.items[0].update(position=7), "items and not events"),
        (lambda e, _: e.items[3].update(code=None), "it is done, but of 2 jobs 1 were changed and 0 skipped"),
        (_with_body(7, done=1), "its last event says 1 done"),
        (lambda e, _: _event(e, 7).update(version=6), "version 6 comes where 5 should"),
        (lambda e, _: _event(e, 5).update(type="operation.resumed.v1"), "happened while it was planned"),
        (_with_body(13, items=[{"job": A, "version": 3}, {"job": B, "version": 4}]), "over ['job.restored.v1']"),
        (lambda e, _: _swapped(e, 15, 16), "was started at 16, while its queue or kind was paused"),
        (lambda e, _: e.controls["queue:side"].update(paused={}), "queues are controlled as"),
        (lambda e, _: e.controls["queue:side"].update(limits=None), "queues are controlled as"),
        (lambda _, history: history.append(_answer("c-1", UNDO)), "was answered with several operations"),
        (lambda _, history: history.append(_answer("c-2", A)), "which is not there"),
    ],
)
def test_each_corruption_is_caught(spoil: Spoil, sentence: str) -> None:
    found = _found(spoil)
    assert any(sentence in text for text in found), found


def test_a_chunk_is_taken_apart_into_what_single_commands_would_have_made() -> None:
    told = histories(_events())
    assert [event["type"] for event in told[A]] == ["job.created.v1", "job.cancelled.v1", "job.restored.v1"]
    assert json.loads(told[A][1]["data"]) == {
        "after": "CANCELLED",
        "queue": "side",
        "kind": "chaos.quick",
        "before": "PENDING",
    }
    assert [event["pos"] for event in told[B]] == [2, 6, 8, 16]
