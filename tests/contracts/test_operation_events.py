"""Every event of a bulk operation ever written can still be read, and taken apart: one golden file per type."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobplane.audit.entry import entries, entry
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.audit import AuditAction
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.expansion import expand
from jobplane.contracts.ids import EventId
from jobplane.contracts.job_events import JOB_EVENTS, JobCancelled
from jobplane.contracts.operations import OPERATION_EVENTS, JobsChanged
from jobplane.contracts.topology import EVT_JOBS
from jobplane.jobs.wiring import subject_of

GOLDEN = Path(__file__).parent / "golden"
OPERATION = "019aa000-0000-7000-8000-0000000000b3"
MODELS = {**OPERATION_EVENTS, JobsChanged.TYPE: JobsChanged}


def golden(event_type: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GOLDEN / f"{event_type}.json").read_text(encoding="utf-8"))
    return read


def record(event_type: str, data: dict[str, Any] | None = None) -> EventRecord:
    return EventRecord(
        position=7,
        stream_id=OPERATION,
        version=4,
        type=event_type,
        id=EventId("019aa000-0000-7000-8000-0000000000e1"),
        command_id=None,
        actor=Actor(id="019aa000-0000-7000-8000-0000000000a1", kind=ActorKind.USER, role=Role.ADMIN),
        reason="wrong queue",
        correlation_id="019aa000-0000-7000-8000-0000000000f1",
        causation_id="019aa000-0000-7000-8000-0000000000c1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        at=datetime(2026, 11, 1, 12, tzinfo=UTC),
        data=json.dumps(golden(event_type)["data"] if data is None else data).encode(),
    )


def test_every_event_type_has_a_golden_file_and_every_golden_file_a_type() -> None:
    assert {path.stem for path in GOLDEN.glob("operation.*.json")} == set(MODELS)


@pytest.mark.parametrize("event_type", MODELS)
def test_a_golden_event_reads_and_writes_as_it_was_written(event_type: str) -> None:
    data = golden(event_type)["data"]
    event = MODELS[event_type].model_validate(data)
    written = event.model_dump(mode="json", exclude_unset=True)
    assert written == data
    assert MODELS[event_type].model_validate({**data, "added_later": 1}) == event


def test_the_entries_of_an_operation_sum_up_its_jobs() -> None:
    told = {event_type: entries(record(event_type), EVT_JOBS)[0].times for event_type in OPERATION_EVENTS}
    bodies = {event_type: record(event_type).body() for event_type in OPERATION_EVENTS}
    for event_type in ("operation.planned.v1", "operation.started.v1"):
        assert told[event_type] == bodies[event_type]["total"]
    for event_type in ("operation.finished.v1", "operation.stopped.v1"):
        assert told[event_type] == bodies[event_type]["done"]


@pytest.mark.parametrize("event_type", OPERATION_EVENTS)
def test_an_event_of_the_operation_is_one_entry_about_the_operation(event_type: str) -> None:
    event = record(event_type)
    assert list(expand(event)) == [event]
    [made] = entries(event, EVT_JOBS)
    assert (made.target_type, made.target_id, made.number) == ("operation", OPERATION, 0)
    assert made.action.startswith("BULK_")
    assert made.operation_id == OPERATION


def test_a_chunk_is_taken_apart_into_the_events_that_single_commands_make() -> None:
    first, second = expand(record(JobsChanged.TYPE))
    assert (first.stream_id, first.version, first.type) == (
        "019aa000-0000-7000-8000-000000000001",
        3,
        JobCancelled.TYPE,
    )
    assert (second.stream_id, second.version, second.position) == ("019aa000-0000-7000-8000-000000000011", 2, 7)
    running = JOB_EVENTS[first.type].model_validate_json(first.data)
    assert running.model_dump(exclude_none=True) == {
        "queue": "images",
        "kind": "image.thumbnail",
        "before": "RUNNING",
        "after": "CANCELLED",
        "run": 1,
        "worker": "worker-1",
    }
    assert JobCancelled.model_validate_json(second.data).run is None


def test_a_chunk_is_one_entry_for_each_job_as_if_it_had_come_alone() -> None:
    event = record(JobsChanged.TYPE)
    made = entries(event, EVT_JOBS)
    alone = [entry(one, EVT_JOBS) for one in expand(event)]
    assert made == [one._replace(number=number) for number, one in enumerate(alone)]
    assert {one.action for one in made} == {AuditAction.JOB_CANCELLED}
    assert {one.operation_id for one in made} == {one.operation_id for one in expand(event)} == {OPERATION}


def test_what_all_jobs_of_a_chunk_are_alike_in_may_be_said_once() -> None:
    told = {"queue": "images", "kind": "image.thumbnail", "before": "FAILED", "after": "CANCELLED"}
    item = {"job": "019aa000-0000-7000-8000-000000000001", "version": 2}
    once = record(JobsChanged.TYPE, {"type": "job.cancelled.v1", "shared": told, "items": [item]})
    each = record(JobsChanged.TYPE, {"type": "job.cancelled.v1", "shared": {}, "items": [item | told]})
    assert entries(once, EVT_JOBS) == entries(each, EVT_JOBS)
    assert [json.loads(one.data) for one in expand(once)] == [json.loads(one.data) for one in expand(each)]


def test_a_chunk_is_published_in_the_shard_of_its_jobs_and_in_no_queue() -> None:
    assert subject_of(record(JobsChanged.TYPE)) == "jobs.evt.1._.operation_jobs_changed"
    assert subject_of(record("operation.requested.v1")) == "jobs.evt.3._.operation_requested"


@pytest.mark.parametrize(
    "data",
    [
        {"type": "job.cancelled.v1"},
        {"type": "job.unheard_of.v1", "shared": {"after": "CANCELLED"}, "items": []},
        {"type": "job.cancelled.v1", "shared": {}, "items": [{"job": OPERATION, "version": 1, "before": "FAILED"}]},
        {"type": "job.cancelled.v1", "shared": {"after": "FAILED"}, "items": [{"job": "x", "before": "FAILED"}]},
        {"type": "job.cancelled.v1", "shared": {"after": "FAILED"}, "items": [{"job": OPERATION, "before": "BROKEN"}]},
        {"type": "job.cancelled.v1", "shared": {"after": "FAILED"}, "items": ["x"]},
    ],
)
def test_a_chunk_that_is_not_as_declared_is_refused_whole(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        entries(record(JobsChanged.TYPE, data), EVT_JOBS)


def test_a_chunk_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidMessage):
        list(expand(replace(record(JobsChanged.TYPE), data=b"{")))
