"""One event means exactly one entry with exactly one action, whatever it is."""

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.audit.entry import ACTIONS, AUDITED, entries, entry
from jobplane.contracts.actors import Actor, ActorKind, Role, worker
from jobplane.contracts.admin_events import ADMIN_EVENTS
from jobplane.contracts.audit import AuditAction
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.ids import EventId
from jobplane.contracts.job_events import JOB_EVENTS, CommandRefused
from jobplane.contracts.operations import OPERATION_EVENTS
from jobplane.contracts.queues import QUEUE_EVENTS
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS, FOLDED

JOB = "019aa000-0000-7000-8000-000000000001"
TRACE = "0af7651916cd43dd8448eb211c80319c"
ROUTED = {"queue": "default", "kind": "image.thumbnail"}
RUN = {**ROUTED, "run": 1, "attempt": 1, "worker": "worker-1"}
ERROR = {"type": "UnidentifiedImageError", "fingerprint": "d65eff008b79440d"}


def event(event_type: str, data: dict[str, Any] | bytes, **changes: Any) -> EventRecord:
    made = EventRecord(
        position=1,
        stream_id=JOB,
        version=1,
        type=event_type,
        id=EventId("019aa000-0000-7000-8000-0000000000e1"),
        command_id="019aa000-0000-7000-8000-0000000000c1",
        actor=worker("worker-1"),
        reason=None,
        correlation_id="019aa000-0000-7000-8000-0000000000f1",
        causation_id=None,
        traceparent=f"00-{TRACE}-b7ad6b7169203331-01",
        at=datetime(2026, 11, 1, 12, tzinfo=UTC),
        data=data if isinstance(data, bytes) else json.dumps(data).encode(),
    )
    return replace(made, **changes)


def started(**changes: Any) -> EventRecord:
    made = event("job.started.v1", {**RUN, "before": "PENDING", "after": "RUNNING", "lease_ms": 30_000})
    return replace(made, **changes)


def failed() -> EventRecord:
    return event("job.failed.v1", {**RUN, "before": "RUNNING", "after": "FAILED", "error": ERROR})


def refused(**data: Any) -> EventRecord:
    return event(CommandRefused.TYPE, {"command": "retry", "code": "job_not_failed", **data})


def test_every_event_of_every_stream_has_exactly_one_action() -> None:
    audited = {event_type for types in AUDITED.values() for event_type in types}
    assert audited == set(ACTIONS)
    assert audited == {*JOB_EVENTS, *QUEUE_EVENTS, *OPERATION_EVENTS, *ADMIN_EVENTS, CommandRefused.TYPE}


def test_every_stream_that_is_folded_has_its_events() -> None:
    assert set(AUDITED) == set(FOLDED["audit"])


def test_every_action_is_that_of_some_event() -> None:
    assert sorted(ACTIONS.values()) == sorted(AuditAction)


def test_what_happened_to_a_queue_or_a_kind_tells_which_and_how() -> None:
    paused = entry(event("queue.paused.v1", {"queue": "mail", "drain": False}), EVT_JOBS)
    assert (paused.target_type, paused.target_id, paused.before, paused.after) == ("queue", "mail", "active", "paused")
    resumed = entry(event("queue.resumed.v1", {"kind": "mail.send"}), EVT_JOBS)
    assert (resumed.target_type, resumed.target_id, resumed.after) == ("kind", "mail.send", "active")
    limits = {"before": {}, "after": {"concurrency": 5, "rate": {"starts": 10, "every_s": 60, "burst": 3}}}
    limited = entry(event("queue.limited.v1", {"queue": "mail", **limits}), EVT_JOBS)
    assert limited.before == "unlimited"
    assert limited.after == "at most 5 at once, 10 starts in 60 s, bursts of 3"


def test_an_entry_tells_who_did_what_to_which_job_and_why() -> None:
    admin = Actor(id="account-1", kind=ActorKind.USER, role=Role.ADMIN, origin="origin-1")
    retried = event(
        "job.retried.v1",
        {**ROUTED, "before": "FAILED", "after": "PENDING", "run_at": "2026-11-01T12:00:00Z"},
        actor=admin,
        reason="disk is back",
    )
    made = entry(retried, EVT_JOBS)
    assert (made.action, made.actor, made.reason) == (AuditAction.JOB_RETRY, admin, "disk is back")
    assert (made.target_type, made.target_id, made.before, made.after) == ("job", JOB, "FAILED", "PENDING")
    assert (made.source, made.source_position, made.number, made.at) == (EVT_JOBS, 1, 0, retried.at)
    assert (made.command_id, made.correlation_id) == (retried.command_id, retried.correlation_id)
    assert (made.trace_id, made.refused, made.code, made.times) == (TRACE, False, None, 1)


EDITED: dict[str, Any] = {
    "changed": ["payload", "queue", "priority", "run_at", "max_attempts"],
    "was": {"payload": JOB, "queue": "mail", "priority": 5, "run_at": "2026-11-01T12:00:01Z", "max_attempts": 3},
    "now": {"payload": JOB, "queue": "slow", "priority": 7, "run_at": "2026-11-01T13:00:00Z", "max_attempts": 8},
}
WAS = "payload, queue mail, priority 5, due 2026-11-01T12:00:01Z, attempts allowed: 3"
IS = "another payload, queue slow, priority 7, due 2026-11-01T13:00:00Z, attempts allowed: 8"


def test_an_edited_job_tells_what_it_was_and_is_but_not_its_payload() -> None:
    alone = entry(event("job.edited.v1", {**ROUTED, "before": "FAILED", "after": "FAILED", **EDITED}), EVT_JOBS)
    assert (alone.before, alone.after) == (WAS, IS)


def test_jobs_that_were_edited_at_once_tell_the_same() -> None:
    by_postgres = {"was": {**EDITED["was"], "run_at": "2026-11-01T12:00:01+00:00"}}
    each = {"job": JOB, "version": 3, "kind": "a", **EDITED, **by_postgres}
    one, other = each, each | {"changed": ["queue"]}
    body = {"type": "job.edited.v1", "shared": {"before": "FAILED", "after": "FAILED"}, "items": [one, other]}
    first, second = entries(event("operation.jobs_changed.v1", body), EVT_JOBS)
    assert (first.before, first.after) == (WAS, IS)
    assert (second.before, second.after) == ("queue mail", "queue slow")


def test_a_failed_run_tells_the_type_of_its_error() -> None:
    assert entry(failed(), EVT_JOBS).code == "UnidentifiedImageError"


def test_a_refused_command_changed_nothing_and_says_why() -> None:
    made = entry(refused(target_id=JOB, status="RUNNING", count=4), EVT_JOBS)
    assert (made.refused, made.code, made.command, made.times) == (True, "job_not_failed", "retry", 4)
    assert (made.target_type, made.target_id, made.before, made.after) == ("job", JOB, "RUNNING", "RUNNING")


def test_a_refused_command_may_be_about_nothing_that_exists() -> None:
    assert entry(refused(), EVT_JOBS).target_id is None


def test_fields_of_a_newer_version_are_ignored() -> None:
    newer = json.loads(started().data) | {"region": "eu"}
    assert entry(started(data=json.dumps(newer).encode()), EVT_JOBS) == entry(started(), EVT_JOBS)


@pytest.mark.parametrize(
    ("unreadable", "source", "why"),
    [
        (event("job.exploded.v1", {}), EVT_JOBS, "unknown type"),
        (started(), EVT_ADMIN, "unknown type"),
        (started(), "EVT_OTHER", "unknown type"),
        (started(data=b"{"), EVT_JOBS, "not as declared"),
        (started(data=b"\xff"), EVT_JOBS, "not as declared"),
        (started(data=b"[]"), EVT_JOBS, "not as declared"),
        (event("job.failed.v1", {**RUN, "before": "RUNNING", "after": "GONE"}), EVT_JOBS, "after"),
        (started(stream_id="1"), EVT_JOBS, "subject"),
        (started(correlation_id="no\nid"), EVT_JOBS, "correlation id"),
        (started(command_id=JOB.upper() + "'"), EVT_JOBS, "command id"),
        (started(at=datetime(2026, 11, 1, 12)), EVT_JOBS, "offset"),  # noqa: DTZ001 - a naive time is the fault
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_reason(unreadable: EventRecord, source: str, why: str) -> None:
    with pytest.raises(InvalidMessage, match=why):
        entry(unreadable, source)


@pytest.mark.parametrize("traceparent", ["", "garbage", "00-zz-1-01", "00-" + "0" * 31 + "-1-01"])
def test_an_event_without_a_valid_trace_is_still_audited(traceparent: str) -> None:
    assert entry(started(traceparent=traceparent), EVT_JOBS).trace_id == ""


@given(st.binary(max_size=64), st.sampled_from(sorted(ACTIONS)), st.sampled_from(sorted(AUDITED)))
def test_any_body_is_either_an_entry_or_refused(data: bytes, event_type: str, source: str) -> None:
    with suppress(InvalidMessage):
        assert entry(event(event_type, data), source).action is ACTIONS[event_type]
