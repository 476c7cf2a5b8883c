"""Plans over HTTP: run by their token, once and as planned; and whoever waits hears what will not be done."""

from typing import Any

import httpx2
import pytest

from jobplane.contracts.envelope import CommandMessage, CommandOutcome
from jobplane.contracts.operations import BulkAction, RunOperation
from tests.integration.gateway.conftest import Running
from tests.integration.gateway.scripted_jobs import refused

BULK = "/api/admin/jobs/bulk"
JOB = "01920a3c-7f00-7a00-8000-0123456789ab"
PLAN = "01920a40-0000-7000-8000-00000000b01c"
THIS: dict[str, Any] = {"action": "retry", "plan": PLAN}


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    shows(gateway, status="running")
    return await gateway.bearer()


def shows(gateway: Running, **more: Any) -> None:
    """From now on every operation is like this."""
    gateway.jobs.answers["jobs.query.operation"] = {"id": PLAN, "action": "retry", "total": 101, "done": 0} | more


async def test_a_plan_is_run_by_its_token_and_settles_everything_else(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    answer = await admin.post(BULK, json=THIS | {"max_drift": 10, "reason": "the disk is back"})
    assert (answer.status_code, answer.headers["location"]) == (202, f"/api/admin/operations/{PLAN}")
    [sent] = gateway.jobs.commands
    assert sent.command == RunOperation(operation_id=PLAN, max_drift=10, action=BulkAction.RETRY)
    assert sent.reason == "the disk is back"
    wishes: list[tuple[dict[str, Any], str]] = [
        (THIS | {"ids": [JOB]}, "selector_ambiguous"),
        (THIS | {"filter": "status:failed"}, "selector_ambiguous"),
        (THIS | {"all": True}, "selector_ambiguous"),
        (THIS | {"dry_run": True}, "selector_ambiguous"),
        (THIS | {"rate": 5}, "selector_ambiguous"),
        (THIS | {"plan": "7"}, "invalid_request"),
        ({"plan": PLAN}, "invalid_request"),
        ({"action": "retry", "ids": [JOB], "max_drift": 3}, "plan_required"),
        ({"action": "retry", "ids": [JOB] * 18_001}, "invalid_request"),
    ]
    for body, code in wishes:
        answer = await admin.post(BULK, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert gateway.jobs.commands == [sent]


async def test_a_refusal_of_a_plan_is_told(gateway: Running, admin: httpx2.AsyncClient) -> None:
    for code, status in (("not_your_plan", 403), ("plan_drifted", 409), ("plan_mismatch", 409), ("plan_expired", 409)):

        def decide(message: CommandMessage, code: str = code) -> CommandOutcome:
            return refused(message, code, added=12, gone=3)

        gateway.jobs.decide = decide
        answer = await admin.post(BULK, json=THIS)
        assert (answer.status_code, answer.json()["code"], answer.json()["added"]) == (status, code, 12)


async def test_who_waits_hears_that_it_does_not_run(gateway: Running, admin: httpx2.AsyncClient) -> None:
    stuck = [("planned", "reason_required", 422), ("failed", "field_redacted", 422), ("failed", "search_too_slow", 503)]
    for stands, code, status in stuck:
        shows(gateway, status=stands, code=code, detail="Because.")
        body = {"action": "retry", "filter": "status:failed"}
        answer = await admin.post(BULK, json=body, headers={"Prefer": "wait=1"})
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["detail"]) == (status, code, "Because.")
        assert problem["operation_id"] == gateway.jobs.commands[-1].command.target
        assert (problem["operation_status"], "retry-after" in answer.headers) == (stands, status == 503)
        later = await admin.post(BULK, json=body)
        assert (later.status_code, later.json()["code"]) == (202, code), "nobody waits, and it stands in the view"
