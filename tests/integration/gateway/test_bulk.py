"""Bulk operations as a script asks for them: every wrong request has its code, and answers tell what will happen."""

from typing import Any

import httpx2
import pytest

from jobplane.contracts.envelope import CommandMessage, CommandOutcome
from jobplane.contracts.operations import BulkAction, PlanOperation, RunOperation
from tests.integration.gateway.conftest import Running
from tests.integration.gateway.scripted_jobs import done, refused

BULK = "/api/admin/jobs/bulk"
JOB = "01920a3c-7f00-7a00-8000-0123456789ab"
PLAN = "01920a40-0000-7000-8000-00000000b01c"


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    return await gateway.bearer()


def operation(**more: Any) -> dict[str, Any]:
    """An operation as the jobs service shows it."""
    return {"id": PLAN, "action": "retry", "status": "planned", "total": 101, "done": 0} | more


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "invalid_request"),
        ({"action": "retry"}, 422, "selector_required"),
        ({"action": "retry", "filter": ""}, 422, "selector_required"),
        ({"action": "retry", "filter": "  "}, 422, "selector_required"),
        ({"action": "retry", "ids": []}, 422, "invalid_request"),
        ({"action": "retry", "ids": ["7"]}, 422, "invalid_request"),
        ({"action": "retry", "ids": [JOB], "filter": "status:failed"}, 422, "selector_ambiguous"),
        ({"action": "retry", "ids": [JOB], "all": True}, 422, "selector_ambiguous"),
        ({"action": "retry", "ids": [JOB] * 18_001}, 422, "invalid_request"),
        ({"action": "retry", "filter": "stauts:failed"}, 422, "invalid_query"),
        ({"action": "retry", "filter": "status:failed status:pending", "rate": 0}, 422, "invalid_request"),
        ({"action": "delete", "ids": [JOB]}, 422, "invalid_request"),
        ({"action": "RETRY", "ids": [JOB]}, 422, "invalid_request"),
        ({"action": None, "ids": [JOB]}, 422, "invalid_request"),
        ({"action": "retry", "ids": [JOB], "force": True}, 422, "invalid_request"),
        ({"action": "edit", "ids": [JOB], "edit": {"payload": {}}}, 422, "payload_not_in_bulk"),
        ({"action": "retry", "ids": [JOB], "max_drift": 3}, 422, "plan_required"),
        ({"action": "retry", "plan": PLAN, "ids": [JOB]}, 422, "selector_ambiguous"),
        ({"action": "retry", "plan": PLAN, "filter": "status:failed"}, 422, "selector_ambiguous"),
        ({"action": "retry", "plan": PLAN, "dry_run": True}, 422, "selector_ambiguous"),
        ({"action": "retry", "plan": PLAN, "rate": 5}, 422, "selector_ambiguous"),
        ({"action": "retry", "plan": "7"}, 422, "invalid_request"),
        ({"plan": PLAN}, 422, "invalid_request"),
    ],
)
async def test_what_makes_no_sense_is_refused_and_never_sent(
    gateway: Running, admin: httpx2.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    sent = len(gateway.jobs.commands)
    answer = await admin.post(BULK, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]
    assert len(gateway.jobs.commands) == sent


async def test_a_plan_is_run_by_its_token(gateway: Running, admin: httpx2.AsyncClient) -> None:
    gateway.jobs.decide = done
    gateway.jobs.answers["jobs.query.operation"] = operation(status="running")
    body = {"action": "retry", "plan": PLAN, "max_drift": 10, "reason": "the disk is back"}
    answer = await admin.post(BULK, json=body)
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/admin/operations/{PLAN}")
    sent = gateway.jobs.commands[-1]
    assert sent.command == RunOperation(operation_id=PLAN, max_drift=10, action=BulkAction.RETRY)
    assert sent.reason == "the disk is back"


async def test_a_refusal_of_a_plan_is_told(gateway: Running, admin: httpx2.AsyncClient) -> None:
    for code, status in (("not_your_plan", 403), ("plan_drifted", 409), ("plan_mismatch", 409), ("plan_expired", 409)):

        def decide(message: CommandMessage, code: str = code) -> CommandOutcome:
            return refused(message, code, added=12, gone=3)

        gateway.jobs.decide = decide
        answer = await admin.post(BULK, json={"action": "retry", "plan": PLAN})
        assert (answer.status_code, answer.json()["code"], answer.json()["added"]) == (status, code, 12)


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ({"status": "planned", "code": "reason_required", "detail": "Say why."}, 422),
        ({"status": "failed", "code": "field_redacted", "detail": "Leave it out."}, 422),
        ({"status": "failed", "code": "search_too_slow", "detail": "Ask for less."}, 503),
    ],
)
async def test_who_waits_hears_that_it_does_not_run(
    gateway: Running, admin: httpx2.AsyncClient, shown: dict[str, Any], status: int
) -> None:
    gateway.jobs.decide = done
    gateway.jobs.answers["jobs.query.operation"] = operation(**shown)
    body = {"action": "retry", "filter": "status:failed"}
    answer = await admin.post(BULK, json=body, headers={"Prefer": "wait=1"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["detail"]) == (status, shown["code"], shown["detail"])
    assert problem["operation_id"] == gateway.jobs.commands[-1].command.target
    assert problem["operation_status"] == shown["status"]
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_who_only_plans_sees_the_plan(gateway: Running, admin: httpx2.AsyncClient) -> None:
    gateway.jobs.decide = done
    gateway.jobs.answers["jobs.query.operation"] = operation()
    answer = await admin.post(BULK, json={"action": "retry", "ids": [JOB, JOB], "dry_run": True})
    assert (answer.status_code, answer.json()["status"]) == (200, "planned")
    sent = gateway.jobs.commands[-1].command
    assert isinstance(sent, PlanOperation)
    assert (sent.then_run, sent.ids) == (False, [JOB, JOB])
