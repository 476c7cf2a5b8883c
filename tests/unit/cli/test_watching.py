"""Jobs are followed, whoever changes them: a command, or a bulk operation that changes many at once."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import CommandLineOf
from tests.unit.cli.scripted import Gateway, gateway

ONE, OTHER = "01920a3c-7f00-7a00-8000-000000000001", "01920a3c-7f00-7a00-8000-000000000002"
OPERATION = "01920a40-0000-7000-8000-00000000b01c"
CHANGED = {
    "type": "operation.jobs_changed.v1",
    "subject": OPERATION,
    "at": "2026-11-22T12:00:00Z",
    "reason": "the wrong queue",
    "data": {
        "action": "cancel",
        "type": "job.cancelled.v1",
        "shared": {"after": "CANCELLED"},
        "items": [
            {"job": ONE, "version": 3, "queue": "mail", "before": "PENDING"},
            {"job": OTHER, "version": 2, "queue": "mail", "before": "RUNNING"},
        ],
    },
}


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as one:
        one.will("GET /stats", {"position": 7})
        one.will(f"GET /jobs/{ONE}", {"status": "PENDING"})
        one.will("GET /live", f"id: 1.j8\nevent: {CHANGED['type']}\ndata: {json.dumps(CHANGED)}\n\n".encode())
        one.will("GET /live", {"detail": "The stream ended here."}, status=400)
        yield one


@pytest.fixture
def command(scripted: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLineOf:
    monkeypatch.setattr("jobplane.cli.watching._AGAIN_S", 0.0)
    return CommandLineOf(scripted.data, monkeypatch, capsys)


def test_a_watch_ends_when_a_bulk_operation_finishes_its_job(command: CommandLineOf) -> None:
    said = command("jobs", "watch", ONE)
    assert said.err == "jobplane: Not all of these jobs were completed.\n"
    assert said.out == f"12:00:00 {ONE} job.cancelled    PENDING → CANCELLED “the wrong queue”\n"


def test_each_job_that_a_bulk_operation_changes_is_a_line(command: CommandLineOf) -> None:
    said = command("jobs", "watch", "--json")
    told = [json.loads(line) for line in said.out.splitlines()]
    assert [(event["type"], event["subject"], event["data"]["before"]) for event in told] == [
        ("job.cancelled.v1", ONE, "PENDING"),
        ("job.cancelled.v1", OTHER, "RUNNING"),
    ]
    assert {event["operation_id"] for event in told} == {OPERATION}
    assert {event["data"]["queue"] for event in told} == {"mail"}
