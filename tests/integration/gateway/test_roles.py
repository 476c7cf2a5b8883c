"""Every route with every role: who may call, and that refusals are recorded."""

from typing import Any

import httpx2
import pytest

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import ActorKind, Role
from jobplane.gateway.auth import Require
from jobplane.gateway.openapi import calls_of, document, routes_of
from jobplane.gateway.routes import ROUTERS
from tests.integration.gateway.conftest import Running, code_of
from tests.integration.gateway.scripted_jobs import job

JOB, ASSET, COMMAND = new_id(), new_id(), new_id()
PUBLIC = {("POST", "/api/admin/session"), ("POST", "/api/admin/token")}
PROBES = {"/healthz", "/readyz", "/metrics"}
ROUTES = [
    (method, route.path_format)
    for route in routes_of(ROUTERS)
    for method in sorted(route.methods or ())
    if route.path_format not in PROBES and (method, route.path_format) not in PUBLIC
]
OPERATION_VERBS = ("run", "pause", "resume", "stop", "undo")
NEEDS_ADMIN = {
    ("POST", "/api/admin/jobs"),
    ("DELETE", "/api/admin/jobs/{job_id}"),
    ("POST", "/api/admin/jobs/{job_id}/retry"),
    ("POST", "/api/admin/jobs/{job_id}/cancel"),
    ("POST", "/api/admin/jobs/{job_id}/run"),
    ("POST", "/api/admin/jobs/{job_id}/restore"),
    ("POST", "/api/admin/jobs/{job_id}/clone"),
    ("POST", "/api/admin/jobs/{job_id}/reveal"),
    ("PATCH", "/api/admin/jobs/{job_id}"),
    *(("POST", f"/api/admin/queues/{{queue}}/{verb}") for verb in ("pause", "drain", "resume")),
    *(("POST", f"/api/admin/kinds/{{kind}}/{verb}") for verb in ("pause", "drain", "resume")),
    ("PUT", "/api/admin/queues/{queue}/limits"),
    ("PUT", "/api/admin/kinds/{kind}/limits"),
    ("POST", "/api/admin/jobs/bulk"),
    *(("POST", f"/api/admin/operations/{{operation_id}}/{verb}") for verb in OPERATION_VERBS),
    ("GET", "/api/admin/dlq"),
    ("GET", "/api/admin/dlq/{dead_letter}"),
    ("POST", "/api/admin/dlq/{dead_letter}/replay"),
    ("POST", "/api/admin/dlq/{dead_letter}/discard"),
    ("POST", "/api/admin/assets"),
    ("GET", "/api/docs/swagger"),
    ("GET", "/api/docs/openapi.json"),
}


def address(path: str) -> str:
    ids = {"job_id": JOB, "operation_id": JOB, "asset_id": ASSET, "command_id": COMMAND, "fingerprint": "0" * 16}
    return path.format(queue="mail", kind="mail.send", dead_letter=17, **ids)


def least_role(route: Any) -> Role | None:
    return next((call.role for call in calls_of(route.dependant) if isinstance(call, Require)), None)


def test_every_route_declares_who_may_call_it() -> None:
    for route in routes_of(ROUTERS):
        for method in route.methods or ():
            key = (method, route.path_format)
            if key in PUBLIC or route.path_format in PROBES:
                assert least_role(route) is None, key
            else:
                assert least_role(route) is (Role.ADMIN if key in NEEDS_ADMIN else Role.VIEWER), key


def test_the_documentation_says_the_same() -> None:
    for path, operations in document(ROUTERS, "1")["paths"].items():
        for method, operation in operations.items():
            public = (method.upper(), path) in PUBLIC
            assert operation["security"] == ([] if public else [{"bearer": []}, {"session": []}]), path
            assert ("401" in operation["responses"]) is True, path


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_nobody_gets_in_without_a_login(gateway: Running, method: str, path: str) -> None:
    answer = await gateway.client().request(method, address(path), headers={"Accept": "*/*"})
    assert answer.status_code == 401
    assert code_of(answer) == "unauthenticated"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    [refusal] = await gateway.recorded("command.refused.v1")
    assert refusal["command"] == f"{method} {path}"
    assert refusal["code"] == "unauthenticated"
    assert refusal["actor"].kind is ActorKind.ANONYMOUS


async def test_each_role_may_do_what_is_declared_and_no_more(gateway: Running) -> None:
    gateway.jobs.answers |= {
        "jobs.query.list": {"items": [], "next_cursor": None},
        "jobs.query.detail": job(JOB).model_dump(mode="json"),
        "jobs.query.unredacted": job(JOB).model_dump(mode="json"),
        "jobs.query.history": {"items": [], "next_cursor": None},
        "jobs.query.attempts": {"items": [], "next_cursor": None},
        "jobs.query.operations": {"items": [], "next_cursor": None},
        "jobs.query.operation": {"id": JOB, "status": "done"},
        "jobs.query.operation_items": {"items": [], "next_cursor": None},
        "jobs.query.queues": {"queues": [], "kinds": [], "position": 0},
        "jobs.query.queue": {"queue": "mail"},
        "jobs.query.kind": {"kind": "mail.send"},
        "jobs.query.errors": {"items": [], "next_cursor": None},
        "jobs.query.error": {"fingerprint": "0" * 16},
        "jobs.query.stats": {"by_status": {}, "queues": [], "position": 0},
        "jobs.query.count": {"count": 0, "exact": True, "position": 0},
        "jobs.query.dead_letters": {"items": [], "next_cursor": None},
        "jobs.query.dead_letter": {"seq": 17, "service": "jobs", "what": "command", "replayable": True},
        "jobs.query.dead_letter_replay": {"seq": 17},
        "jobs.query.dead_letter_discard": {"seq": 17},
        "audit.query.list": {"items": [], "next_cursor": None},
        "health.query.detailed": {"status": "ok"},
    }
    for role in Role:
        for method, path in ROUTES:
            if path in {"/api/admin/live", "/api/admin/session", "/api/admin/token"}:
                continue
            client = await gateway.bearer(role)  # of one caller, many refusals alike are summed up
            answer = await _call(client, method, path)
            refused = role is Role.VIEWER and (method, path) in NEEDS_ADMIN
            assert (answer.status_code == 403) is refused, (role, method, path, answer.text)
            assert answer.status_code < 500, (role, method, path, answer.text)
            if refused:
                assert code_of(answer) == "forbidden"
                assert answer.json()["needs"] == "ADMIN"
    assert not [sent for sent in gateway.jobs.commands if sent.actor.role is Role.VIEWER]
    refusals = await gateway.recorded("command.refused.v1")
    assert {refusal["command"] for refusal in refusals} == {f"{method} {path}" for method, path in NEEDS_ADMIN}
    assert {refusal["target_id"] for refusal in refusals if refusal["target_type"] == "job"} == {JOB}


async def _call(client: httpx2.AsyncClient, method: str, path: str) -> httpx2.Response:
    body: dict[str, Any] = {}
    if (method, path) == ("POST", "/api/admin/jobs"):
        body = {"json": {"kind": "x", "payload": {}}}
    elif path == "/api/admin/assets":
        body = {"files": {"file": ("a.txt", b"text")}}
    return await client.request(method, address(path), **body)


async def test_a_viewer_may_follow_the_live_stream(gateway: Running) -> None:
    client = await gateway.bearer(Role.VIEWER)
    async with client.stream("GET", "/api/admin/live") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")


async def test_swagger_leads_browsers_to_the_login(gateway: Running) -> None:
    browser = gateway.client(headers={"Accept": "text/html,*/*"})
    answer = await browser.get("/api/docs/swagger")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/admin/login?next=/api/docs/swagger"
    admin = await gateway.browser(Role.ADMIN, accept="text/html")
    page = await admin.get("/api/docs/swagger")
    assert page.status_code == 200
    assert "script-src 'self';" in page.headers["content-security-policy"]
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "init.js"):
        assert f"/api/docs/assets/{asset}" in page.text
        assert (await admin.get(f"/api/docs/assets/{asset}")).status_code == 200
