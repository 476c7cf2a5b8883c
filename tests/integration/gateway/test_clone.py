"""Copies of jobs: what is taken over, what is not, and what is refused."""

from typing import Any

import httpx2
import pytest

from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CreateJob
from jobplane.contracts.jobs import JobStatus
from tests.integration.gateway.conftest import Running, code_of
from tests.integration.gateway.scripted_jobs import NOW, job

SOURCE: dict[str, Any] = {
    "status": JobStatus.COMPLETED,
    "queue": "images",
    "priority": 3,
    "max_attempts": 2,
    "timeout_s": 1.5,
    "tags": ["a"],
    "asset": new_id(),
    "unique_key": "photo-1",
    "run_at": NOW,
    "payload": {"side": 320},
}


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    return await gateway.bearer()


async def cloned(gateway: Running, client: httpx2.AsyncClient, body: dict[str, Any] | None, **source: Any) -> CreateJob:
    of = job(**(SOURCE | source))
    gateway.jobs.answers["jobs.query.unredacted"] = of.model_dump(mode="json")
    answer = await client.post(f"/api/admin/jobs/{of.id}/clone", json=body)
    assert answer.status_code == 201, answer.text
    sent = gateway.jobs.commands[-1].command
    assert isinstance(sent, CreateJob)
    assert (sent.cloned_from, answer.json()["id"]) == (of.id, sent.job_id)
    assert sent.job_id != of.id
    return sent


async def test_a_copy_is_like_its_job_but_runs_at_once_and_takes_no_key(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    sent = await cloned(gateway, admin, None)
    assert (sent.kind, sent.queue, sent.priority, sent.max_attempts) == ("image.thumbnail", "images", 3, 2)
    assert (sent.timeout_ms, sent.tags, sent.asset, sent.payload) == (1500, ["a"], SOURCE["asset"], {"side": 320})
    assert (sent.run_at, sent.unique_key) == (None, None)


async def test_anything_may_be_otherwise_in_a_copy(gateway: Running, admin: httpx2.AsyncClient) -> None:
    body = {"payload": {}, "queue": "slow", "priority": 0, "tags": [], "max_attempts": 9, "unique_key": "k"}
    sent = await cloned(gateway, admin, body | {"timeout_s": 2, "reason": "larger"})
    assert (sent.payload, sent.queue, sent.priority, sent.tags, sent.max_attempts) == ({}, "slow", 0, [], 9)
    assert (sent.unique_key, sent.timeout_ms, gateway.jobs.commands[-1].reason) == ("k", 2000, "larger")


async def test_an_erased_payload_cannot_be_copied(gateway: Running, admin: httpx2.AsyncClient) -> None:
    of = job(**(SOURCE | {"payload": None}))
    gateway.jobs.answers["jobs.query.unredacted"] = of.model_dump(mode="json")
    answer = await admin.post(f"/api/admin/jobs/{of.id}/clone")
    assert (answer.status_code, code_of(answer)) == (409, "payload_erased")
    assert gateway.jobs.commands == []
    assert (await cloned(gateway, admin, {"payload": {"side": 1}}, payload=None)).payload == {"side": 1}


async def test_a_job_that_is_not_there_has_no_copy(gateway: Running, admin: httpx2.AsyncClient) -> None:
    gateway.jobs.answers["jobs.query.unredacted"] = {"problem": {"code": "job_not_found", "detail": "No.", "facts": {}}}
    answer = await admin.post(f"/api/admin/jobs/{new_id()}/clone")
    assert (answer.status_code, code_of(answer)) == (404, "job_not_found")


@pytest.mark.parametrize("body", [{"kind": "other"}, {"priority": 5000}, {"queue": "NO"}, {"asset": new_id()}])
async def test_a_copy_is_asked_for_properly(gateway: Running, admin: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    answer = await admin.post(f"/api/admin/jobs/{new_id()}/clone", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert gateway.jobs.commands == []
