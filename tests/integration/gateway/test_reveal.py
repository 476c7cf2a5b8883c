"""What is secret in a job: shown with a reason, never unrecorded."""

from typing import Any

import pytest

from jobplane.contracts.actors import Role
from tests.integration.gateway.conftest import Running, code_of
from tests.integration.gateway.scripted_jobs import job

SECRET = job(payload={"password": "hunter2"}, version=3)
REVEAL = f"/api/admin/jobs/{SECRET.id}/reveal"


@pytest.fixture(autouse=True)
def there(gateway: Running) -> None:
    gateway.jobs.answers["jobs.query.unredacted"] = SECRET.model_dump(mode="json")


async def test_a_job_is_revealed_to_an_admin_who_says_why_and_that_is_recorded(gateway: Running) -> None:
    admin = await gateway.bearer()
    answer = await admin.post(REVEAL, json={"reason": "the key is wrong"})
    assert (answer.status_code, answer.json()["payload"]) == (200, {"password": "hunter2"})
    assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"3"', "no-store")
    [event] = await gateway.recorded("job.revealed.v1")
    assert (event["job_id"], event["job_version"], event["actor"].role) == (SECRET.id, 3, Role.ADMIN)
    [reason] = [one.reason for one in await gateway.gateway.log.journal.after(0, 100) if one.type == "job.revealed.v1"]
    assert reason == "the key is wrong"


@pytest.mark.parametrize("body", [None, {}, {"reason": None}])
async def test_without_a_reason_nothing_is_asked_for(gateway: Running, body: Any) -> None:
    answer = await (await gateway.bearer()).post(REVEAL, json=body)
    assert (answer.status_code, code_of(answer)) == (422, "reason_required")
    assert "unredacted" not in str(gateway.jobs.asked)
    [refusal] = await gateway.recorded("command.refused.v1")
    assert (refusal["code"], refusal["target_id"]) == ("reason_required", SECRET.id)


async def test_a_viewer_sees_no_secrets(gateway: Running) -> None:
    viewer = await gateway.bearer(Role.VIEWER)
    assert code_of(await viewer.post(REVEAL, json={"reason": "curious"})) == "forbidden"
    assert await gateway.recorded("job.revealed.v1") == []


async def test_nothing_is_shown_that_cannot_be_recorded(gateway: Running) -> None:
    admin = await gateway.bearer()
    async with gateway.pool.connection() as conn:
        await conn.execute("UPDATE journal_head SET halted = 'journal_diverged'")
    answer = await admin.post(REVEAL, json={"reason": "the key is wrong"})
    assert answer.status_code == 503
    assert "hunter2" not in answer.text


async def test_a_job_that_is_not_there_has_no_secrets(gateway: Running) -> None:
    gateway.jobs.answers["jobs.query.unredacted"] = {"problem": {"code": "job_not_found", "detail": "No.", "facts": {}}}
    answer = await (await gateway.bearer()).post(REVEAL, json={"reason": "the key is wrong"})
    assert (answer.status_code, code_of(answer)) == (404, "job_not_found")
    assert await gateway.recorded("job.revealed.v1") == []
