"""The AuditLog as the gateway shows it: names and addresses are its own to fill in, and to forget."""

from typing import Any

import pytest

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role
from tests.integration.gateway.conftest import Running, code_of

AUDIT = "/api/admin/audit"


def entry(actor: dict[str, Any]) -> dict[str, Any]:
    return {
        "position": 1,
        "source": "EVT_JOBS",
        "source_position": 1,
        "at": "2026-11-22T12:00:00Z",
        "action": "JOB_RETRY",
        "actor": {"name": None, "role": None, "origin": None, "address": None} | actor,
        "target": {"type": "job", "id": new_id()},
        "outcome": "accepted",
        "correlation_id": new_id(),
        "trace_id": "0" * 32,
    }


async def test_names_are_filled_in_and_addresses_for_admins_only(gateway: Running) -> None:
    admin, viewer = await gateway.bearer(Role.ADMIN), await gateway.bearer(Role.VIEWER)
    me = (await admin.get("/api/admin/session")).json()
    origin = await gateway.gateway.origins.id_of("127.0.0.1")
    page = {
        "items": [
            entry({"id": me["id"], "kind": "user", "origin": origin}),
            entry({"id": "worker-1", "kind": "worker"}),
            entry({"id": new_id(), "kind": "token", "origin": new_id()}),
            entry({"id": "anonymous", "kind": "user", "origin": "erased"}),
        ],
        "next_cursor": "c",
    }
    gateway.jobs.answers["audit.query.list"] = page
    told = (await admin.get(AUDIT)).json()
    assert [item["actor"]["name"] for item in told["items"]] == [me["name"], None, None, None]
    assert [item["actor"]["address"] for item in told["items"]] == ["127.0.0.1", None, None, None]
    assert told["next_cursor"] == "c"
    told = (await viewer.get(AUDIT)).json()
    assert [item["actor"]["name"] for item in told["items"]] == [me["name"], None, None, None]
    assert {item["actor"]["address"] for item in told["items"]} == {None}


async def test_an_erased_address_is_gone_everywhere(gateway: Running) -> None:
    admin = await gateway.bearer(Role.ADMIN)
    await admin.get("/api/admin/session")
    origin = await gateway.gateway.origins.id_of("127.0.0.1")
    gateway.jobs.answers["audit.query.list"] = {
        "items": [entry({"id": "anonymous", "kind": "anonymous", "origin": origin})],
        "next_cursor": None,
    }
    assert (await admin.get(AUDIT)).json()["items"][0]["actor"]["address"] == "127.0.0.1"
    assert await gateway.gateway.origins.erase("127.0.0.1") is True
    gateway.jobs.answers["audit.query.list"]["items"][0]["actor"]["address"] = None
    assert origin not in await gateway.gateway.origins.addresses([str(origin)])


async def test_filters_reach_the_audit_service(gateway: Running) -> None:
    admin = await gateway.bearer()
    gateway.jobs.answers["audit.query.list"] = {"items": [], "next_cursor": None}
    query: dict[str, Any] = {
        "action": ["JOB_RETRY", "LOGIN_FAILED"],
        "actor": "worker-1",
        "outcome": "refused",
        "since": "2026-11-22T12:00:00Z",
        "limit": 7,
    }
    assert (await admin.get(AUDIT, params=query)).status_code == 200
    _, asked = gateway.jobs.asked[-1]
    for part in (
        b'"JOB_RETRY","LOGIN_FAILED"',
        b'"actor":"worker-1"',
        b'"outcome":"refused"',
        b'"limit":7',
        b"2026-11-22T12",
    ):
        assert part in asked


@pytest.mark.parametrize(
    "query",
    [{"action": "JOB_EATEN"}, {"since": "noon"}, {"until": "1700000000"}, {"actor": "a b"}, {"operation": "xyz"}],
)
async def test_filters_that_make_no_sense_are_refused(gateway: Running, query: dict[str, str]) -> None:
    admin = await gateway.bearer()
    answer = await admin.get(AUDIT, params=query)
    assert answer.status_code == 422
    assert code_of(answer) == "invalid_request"


async def test_health_and_numbers_are_passed_on_as_they_are(gateway: Running) -> None:
    viewer = await gateway.bearer(Role.VIEWER)
    gateway.jobs.answers["health.query.detailed"] = {"status": "warn", "checks": []}
    gateway.jobs.answers["jobs.query.stats"] = {"by_status": {"PENDING": 3}, "queues": [], "position": 9}
    assert (await viewer.get("/api/admin/health/detailed")).json() == {"status": "warn", "checks": []}
    assert (await viewer.get("/api/admin/stats")).json()["position"] == 9


async def test_a_refused_question_is_a_problem(gateway: Running) -> None:
    viewer = await gateway.bearer(Role.VIEWER)
    problem = {"code": "invalid_cursor", "detail": "Not one of ours.", "facts": {}}
    gateway.jobs.answers["jobs.query.list"] = {"problem": problem}
    answer = await viewer.get("/api/admin/jobs", params={"cursor": "x"})
    assert answer.status_code == 422
    assert code_of(answer) == "invalid_cursor"
    gateway.jobs.answers["jobs.query.list"] = {
        "problem": problem | {"code": "database_unavailable", "facts": {"retry_after_s": 3}}
    }
    answer = await viewer.get("/api/admin/jobs")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3"


async def test_measurements_are_there_for_prometheus(gateway: Running) -> None:
    client = gateway.client()
    await client.get("/api/admin/jobs")
    text = (await client.get("/metrics")).text
    assert 'jobplane_http_requests_total{method="GET",route="/api/admin/jobs",status="401"}' in text
