"""Routes in the express lane answer every request exactly as the framework would, and cost no second declaration."""

from typing import Any, cast

import httpx2
import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role
from jobplane.gateway.app import create_app
from jobplane.gateway.express import Express
from jobplane.gateway.parameters import Parameters, Unsupported
from jobplane.gateway.sessions import Credential
from tests.integration.gateway.conftest import Running
from tests.integration.gateway.scripted_jobs import done, refused

JOBS = "/api/admin/jobs"
ID = new_id()
JSON = {"Content-Type": "application/json"}
_OWN = {"trace_id", "command_id", "id"}
"""What no two answers share."""

REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", JOBS, {}),
    ("GET", f"{JOBS}?limit=0", {}),
    ("GET", f"{JOBS}?limit=2&status=FAILED&status=PENDING&queue=a", {}),
    ("GET", f"{JOBS}?status=LOST", {}),
    ("GET", f"{JOBS}?cursor=", {}),
    ("GET", f"{JOBS}/{ID}", {}),
    ("GET", f"{JOBS}/nothing", {}),
    ("GET", f"{JOBS}/{ID}?as_of=7", {}),
    ("GET", f"{JOBS}/{ID}?as_of=yesterday", {}),
    ("GET", f"{JOBS}/{ID}/attempts", {}),
    ("GET", f"{JOBS}/{ID}/history?limit=9999", {}),
    ("POST", JOBS, {"content": b'{"kind": "x"}', "headers": JSON}),
    ("POST", JOBS, {"content": b'{"kind": "x"}', "headers": JSON | {"Prefer": "respond-async"}}),
    ("POST", JOBS, {"content": b'{"kind": "x"}', "headers": JSON | {"Idempotency-Key": "a b"}}),
    ("POST", JOBS, {"content": b'{"kind": "x"}', "headers": JSON | {"Prefer": "wait=1", "Idempotency-Key": ""}}),
    ("POST", JOBS, {"content": b'{"kind": "x"}'}),
    ("POST", JOBS, {"content": b"{", "headers": JSON | {"Idempotency-Key": "a b"}}),
    ("POST", JOBS, {"content": b"", "headers": JSON}),
    ("POST", JOBS, {"content": b'{"kind": "x"}', "headers": JSON | {"Host": "elsewhere.example"}}),
    ("POST", JOBS, {"content": b'{"kind": "x"}', "headers": JSON | {"Authorization": "Bearer nobody"}}),
    ("POST", f"{JOBS}/{ID}/retry", {}),
    ("POST", f"{JOBS}/{ID.upper()}/retry", {"headers": {"If-Match": '"2"'}}),
    ("POST", f"{JOBS}/{ID}/retry", {"headers": {"If-Match": "2", "Idempotency-Key": "é".encode()}}),
    ("POST", f"{JOBS}/no-id/retry", {"headers": {"If-Match": "2"}}),
    ("POST", f"{JOBS}/no-id/retry", {"content": b"[]", "headers": JSON}),
    ("POST", f"{JOBS}/{ID}/cancel", {"content": b'{"reason": ""}', "headers": JSON}),
    ("POST", f"{JOBS}/{ID}/run", {"content": b'{"reason": "now"}', "headers": JSON}),
    ("POST", f"{JOBS}/{ID}/restore", {"headers": {"If-Match": '"2"'}}),
    ("PATCH", f"{JOBS}/{ID}", {"content": b'{"priority": 3}', "headers": JSON}),
    ("PATCH", f"{JOBS}/{ID}", {"content": b'{"priority": 3000, "status": "FAILED"}', "headers": JSON}),
    ("PATCH", f"{JOBS}/{ID}", {}),
    ("POST", f"{JOBS}/{ID}/run/", {}),
    ("POST", f"{JOBS}/{ID}%2Frun", {}),
    ("POST", f"{JOBS}/{ID}/explode", {}),
    ("DELETE", f"{JOBS}/{ID}?reason=%07", {}),
    ("DELETE", f"{JOBS}/{ID}?reason=enough", {"headers": {"Origin": "http://elsewhere.example"}}),
    ("PUT", JOBS, {}),
    ("HEAD", JOBS, {}),
    ("OPTIONS", f"{JOBS}/{ID}/retry", {}),
]


def _client(app: Any, secret: str) -> httpx2.AsyncClient:
    """Somebody who speaks to an application without a server between."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app),
        base_url="http://127.0.0.1",
        headers={"Authorization": f"Bearer {secret}"},
    )


def _said(answer: httpx2.Response) -> tuple[int, dict[str, str], Any]:
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-trace-id", "location"}}
    headers.pop("jobplane-command-id", None)
    headers.pop("content-length", None)
    body = answer.json() if answer.content else None
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in _OWN and not name.endswith("_url")}
    return answer.status_code, headers, body


@pytest.mark.parametrize("role", [Role.ADMIN, Role.VIEWER])
async def test_both_ways_through_the_gateway_answer_the_same(gateway: Running, role: Role) -> None:
    lane = cast("Express", create_app(gateway.gateway))
    secret = await gateway.secret(role, Credential.TOKEN)
    gateway.jobs.answers["jobs.query.list"] = {"items": [], "next_cursor": None}
    gateway.jobs.decide = lambda message: (
        refused(message, "job_not_failed") if message.command.type == "retry" else done(message)
    )
    async with _client(lane, secret) as short, _client(lane._app, secret) as long:
        for method, path, how in REQUESTS:
            one, other = await short.request(method, path, **how), await long.request(method, path, **how)
            assert _said(one) == _said(other), (method, path, how)
            assert one.headers["x-trace-id"] != other.headers["x-trace-id"]


async def test_both_ways_record_the_same_refusals(gateway: Running) -> None:
    lane = cast("Express", create_app(gateway.gateway))
    secret = await gateway.secret(Role.VIEWER, Credential.TOKEN)
    async with _client(lane, secret) as short, _client(lane._app, secret) as long:
        await short.post(f"{JOBS}/{ID}/retry")
        await long.post(f"{JOBS}/{ID}/retry")
    one, other = await gateway.recorded("command.refused.v1")
    told = ("command", "code", "target_type", "target_id", "actor")
    assert [one[name] for name in told] == [other[name] for name in told]
    assert one["command"] == "POST /api/admin/jobs/{job_id}/retry"


def _route(endpoint: Any) -> APIRoute:
    app = FastAPI()
    app.add_api_route("/x", endpoint)
    return next(route for route in app.routes if isinstance(route, APIRoute))


async def _wants_a_cookie(session: str = Depends(lambda: "")) -> None:
    """A dependency that blocks its thread."""


def test_a_route_that_wants_what_only_the_framework_knows_is_no_express_route() -> None:
    with pytest.raises(Unsupported):
        Parameters(_route(_wants_a_cookie).dependant)
