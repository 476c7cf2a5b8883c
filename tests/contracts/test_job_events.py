"""Every event of a job that was ever written can still be read and folded: one golden file per type, never edited."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from jobplane.contracts.job_events import JOB_EVENTS, AnyJobEvent, CommandRefused, JobCancelled
from jobplane.jobs.job import Job, Meta, evolve

GOLDEN = Path(__file__).parent / "golden"
JOB = "019aa000-0000-7000-8000-000000000001"
AT = [datetime(2026, 11, 1, 12, 0, second, tzinfo=UTC) for second in range(60)]
MODELS = {**JOB_EVENTS, CommandRefused.TYPE: CommandRefused}


def golden(event_type: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GOLDEN / f"{event_type}.json").read_text(encoding="utf-8"))
    return read


def fold(*event_types: str) -> Job | None:
    """The job after these golden events, one a second."""
    state: Job | None = None
    for version, event_type in enumerate(event_types, start=1):
        event = JOB_EVENTS[event_type].model_validate(golden(event_type)["data"])
        state = evolve(state, event, Meta(JOB, version, AT[version], "0" * 32))
    return state


def shown(job: Job | None) -> dict[str, Any]:
    as_json: dict[str, Any] = json.loads(json.dumps(asdict(job) if job else {}, default=lambda at: at.isoformat()))
    return as_json


def test_every_event_type_has_a_golden_file_and_every_golden_file_a_type() -> None:
    files = {path.stem for pattern in ("job.*.json", "command.*.json") for path in GOLDEN.glob(pattern)}
    assert files == set(MODELS)


@pytest.mark.parametrize("event_type", MODELS)
def test_a_golden_event_reads_and_writes_as_it_was_written(event_type: str) -> None:
    data = golden(event_type)["data"]
    event = MODELS[event_type].model_validate(data)
    written = event.model_dump(mode="json")
    assert {name: written[name] for name in data} == data
    assert MODELS[event_type].model_validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize("event_type", JOB_EVENTS)
def test_a_golden_event_folds_to_the_job_it_always_did(event_type: str) -> None:
    file = golden(event_type)
    before, after = shown(fold(*file["after"])), shown(fold(*file["after"], event_type))
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    assert changed == file["changes"]


@pytest.mark.parametrize("event_type", MODELS)
def test_a_field_that_a_newer_version_added_is_ignored(event_type: str) -> None:
    data = golden(event_type)["data"]
    assert MODELS[event_type].model_validate({**data, "added_later": 1}) == MODELS[event_type].model_validate(data)


@pytest.mark.parametrize("event_type", JOB_EVENTS)
def test_an_event_without_its_status_is_not_an_event(event_type: str) -> None:
    data = golden(event_type)["data"]
    del data["after"]
    with pytest.raises(ValidationError):
        JOB_EVENTS[event_type].model_validate(data)


def test_no_event_tells_a_token_or_a_body() -> None:
    secret = {"token", "payload_json", "message", "stack", "reason"}
    for model in JOB_EVENTS.values():
        assert not secret & set(model.model_fields), model


def test_the_cancel_of_a_waiting_job_names_no_run() -> None:
    created = fold("job.created.v1")
    data = {**golden("job.cancelled.v1")["data"], "run": None, "worker": None, "before": "PENDING"}
    event: AnyJobEvent = JobCancelled.model_validate(data)
    assert evolve(created, event, Meta(JOB, 2, AT[2], "0" * 32)).stop is None
