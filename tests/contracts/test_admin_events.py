"""Every event of the gateway ever written can still be read and audited: one golden file per type, never edited."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobplane.audit.entry import AuditEntry, entry
from jobplane.contracts.actors import Actor
from jobplane.contracts.admin_events import ADMIN_EVENTS
from jobplane.contracts.audit import AuditAction
from jobplane.contracts.envelope import EventRecord, event_from_message, event_headers
from jobplane.contracts.ids import EventId
from jobplane.contracts.topology import EVT_ADMIN

GOLDEN = Path(__file__).parent / "golden" / "admin"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def golden(event_type: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GOLDEN / f"{event_type}.json").read_text(encoding="utf-8"))
    return read


def record(event_type: str) -> EventRecord:
    file = golden(event_type)
    return EventRecord(
        position=7,
        stream_id=file["stream_id"],
        version=1,
        type=event_type,
        id=EventId("019aa000-0000-7000-8000-0000000000e1"),
        command_id=None,
        actor=Actor.model_validate(file["actor"]),
        reason=None,
        correlation_id="019aa000-0000-7000-8000-0000000000f1",
        causation_id=None,
        traceparent=f"00-{TRACE}-b7ad6b7169203331-01",
        at=datetime(2026, 11, 1, 12, tzinfo=UTC),
        data=json.dumps(file["data"]).encode(),
    )


def audited(event_type: str) -> AuditEntry:
    return entry(record(event_type), EVT_ADMIN)


def test_every_event_type_has_a_golden_file_and_every_golden_file_a_type() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(ADMIN_EVENTS)


@pytest.mark.parametrize("event_type", ADMIN_EVENTS)
def test_a_golden_event_reads_and_writes_as_it_was_written(event_type: str) -> None:
    data = golden(event_type)["data"]
    event = ADMIN_EVENTS[event_type].model_validate(data)
    assert event.model_dump(mode="json", exclude_unset=True) == data  # what was added since has a default
    assert ADMIN_EVENTS[event_type].model_validate_json(event.model_dump_json()) == event


@pytest.mark.parametrize("event_type", ADMIN_EVENTS)
def test_a_golden_event_survives_the_bus(event_type: str) -> None:
    sent = record(event_type)
    assert event_from_message(event_headers(sent, "jobplane/gateway"), sent.data) == sent


@pytest.mark.parametrize(
    ("event_type", "action", "target", "refused", "code", "count"),
    [
        ("user.created.v1", AuditAction.USER_CREATED, "user", False, None, 1),
        ("user.password_reset.v1", AuditAction.PASSWORD_RESET, "user", False, None, 1),
        ("login.succeeded.v1", AuditAction.LOGIN_SUCCEEDED, "user", False, None, 1),
        ("login.failed.v1", AuditAction.LOGIN_FAILED, "user", True, "invalid_credentials", 3),
        ("login.ended.v1", AuditAction.LOGGED_OUT, "user", False, None, 1),
        ("command.refused.v1", AuditAction.COMMAND_REFUSED, "job", True, "forbidden", 1),
        ("asset.uploaded.v1", AuditAction.ASSET_UPLOADED, "asset", False, None, 1),
        ("job.revealed.v1", AuditAction.JOB_REVEALED, "job", False, None, 1),
        ("dlq.inspected.v1", AuditAction.DEAD_LETTER_INSPECTED, "dead_letter", False, None, 1),
        ("dlq.replayed.v1", AuditAction.DEAD_LETTER_REPLAYED, "dead_letter", False, None, 1),
        ("dlq.discarded.v1", AuditAction.DEAD_LETTER_DISCARDED, "dead_letter", False, None, 1),
    ],
)
def test_a_golden_event_is_audited_as_it_always_was(
    event_type: str, action: AuditAction, target: str, refused: bool, code: str | None, count: int
) -> None:
    made = audited(event_type)
    assert (made.action, made.target_type, made.refused, made.code, made.times) == (
        action,
        target,
        refused,
        code,
        count,
    )
    assert made.trace_id == TRACE


def test_a_refused_request_names_what_it_was_about() -> None:
    assert audited("command.refused.v1").target_id == golden("command.refused.v1")["data"]["target_id"]


def test_a_reveal_is_about_the_job_that_was_seen() -> None:
    assert audited("job.revealed.v1").target_id == golden("job.revealed.v1")["data"]["job_id"]


def test_a_failed_login_is_about_the_account_whose_password_was_not_known() -> None:
    assert audited("login.failed.v1").target_id is None
    account_id = "019aa000-0000-7000-8000-0000000000c1"
    body = {**golden("login.failed.v1")["data"], "account_id": account_id}
    failed = replace(record("login.failed.v1"), data=json.dumps(body).encode())
    assert entry(failed, EVT_ADMIN).target_id == account_id


def test_the_role_of_a_new_account_is_told() -> None:
    assert audited("user.created.v1").after == "SUPERADMIN"
