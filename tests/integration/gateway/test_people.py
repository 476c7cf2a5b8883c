"""People have names in the API alone: filters take them, answers tell them, services and events do not know them."""

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
from pydantic_core import from_json

from jobplane.chassis.ids import new_id
from jobplane.contracts.operations import PlanOperation
from tests.integration.gateway.conftest import Running, code_of
from tests.integration.gateway.scripted_jobs import refused

JOBS = "/api/admin/jobs"
OTHER, JOB = new_id(), new_id()


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    gateway.jobs.answers |= {
        "jobs.query.list": {"items": [], "next_cursor": None},
        "jobs.query.count": {"count": 0, "relation": "exact"},
        "jobs.query.operation": {"id": new_id(), "status": "planned"},
    }
    return await gateway.bearer()


def actors_of(asked: tuple[str, bytes]) -> Any:
    return from_json(asked[1])["filter"]["actor"]


async def test_filters_name_people_and_services_are_asked_for_ids(gateway: Running, admin: httpx2.AsyncClient) -> None:
    me = (await admin.get("/api/admin/session")).json()
    assert (await admin.get(JOBS, params={"q": f"actor:{me['name'].upper()},{OTHER}"})).status_code == 200
    assert (await admin.get(JOBS, params={"actor": me["name"]})).status_code == 200
    assert (await admin.get("/api/admin/stats/jobs", params={"q": f"actor:{me['name']}"})).status_code == 200
    asked = [one for one in gateway.jobs.asked if one[0] in {"jobs.query.list", "jobs.query.count"}]
    assert [actors_of(one) for one in asked] == [[me["id"], OTHER], [me["id"]], [me["id"]]]

    wish = {"action": "retry", "filter": f"actor:{me['name']}", "dry_run": True}
    assert (await admin.post(f"{JOBS}/bulk", json=wish)).status_code == 200
    [planned] = [sent.command for sent in gateway.jobs.commands]
    assert isinstance(planned, PlanOperation)
    assert planned.filter == {"actor": [me["id"]]}


@pytest.mark.parametrize("name", ["nobody", "nul\x00"])
async def test_a_name_that_nobody_has_is_refused(gateway: Running, admin: httpx2.AsyncClient, name: str) -> None:
    for answer in (
        await admin.get(JOBS, params={"actor": name}),
        await admin.get("/api/admin/stats/jobs", params={"q": f'actor:"{name}"'}),
        await admin.post(f"{JOBS}/bulk", json={"action": "retry", "filter": f'actor:"{name}"'}),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert code_of(await admin.get(JOBS, params={"actor": "nobody"})) == "invalid_query"
    asked = {subject for subject, _ in gateway.jobs.asked}
    assert (asked & {"jobs.query.list", "jobs.query.count"}, gateway.jobs.commands) == (set(), [])


async def test_answers_tell_the_names_of_people(gateway: Running, admin: httpx2.AsyncClient) -> None:
    me = (await admin.get("/api/admin/session")).json()
    by_me: Mapping[str, Any] = {"actor": {"id": me["id"], "kind": "token"}}
    by_erased: Mapping[str, Any] = {"actor": {"id": OTHER, "kind": "user"}}
    by_worker: Mapping[str, Any] = {"actor": {"id": "worker-1", "kind": "worker"}}
    page = {"items": [dict(by_me), dict(by_erased), dict(by_worker)], "next_cursor": None}
    gateway.jobs.answers |= {
        "jobs.query.history": page,
        "jobs.query.operations": page,
        "jobs.query.operation": dict(by_me),
    }
    for path in (f"{JOBS}/{JOB}/history", "/api/admin/operations"):
        told = (await admin.get(path)).json()["items"]
        assert [item["actor_name"] for item in told] == [me["name"], None, None]
    assert (await admin.get(f"/api/admin/operations/{OTHER}")).json()["actor_name"] == me["name"]


async def test_whoever_comes_too_late_is_told_the_name_of_who_was_first(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    me = (await admin.get("/api/admin/session")).json()
    by = {"id": me["id"], "kind": "user"}
    gateway.jobs.decide = lambda message: refused(message, "version_conflict", changed_by=by)
    answer = await admin.post(f"{JOBS}/{JOB}/retry", headers={"If-Match": '"3"'})
    assert (answer.status_code, answer.json()["changed_by_name"]) == (412, me["name"])


async def test_the_audit_log_is_searched_by_name_too(gateway: Running, admin: httpx2.AsyncClient) -> None:
    gateway.jobs.answers["audit.query.list"] = {"items": [], "next_cursor": None}
    me = (await admin.get("/api/admin/session")).json()
    for actor in (me["name"], me["id"], "worker-1"):
        assert (await admin.get("/api/admin/audit", params={"actor": actor})).status_code == 200
    asked = [from_json(data)["actor"] for subject, data in gateway.jobs.asked if subject == "audit.query.list"]
    assert asked == [me["id"], me["id"], "worker-1"]
