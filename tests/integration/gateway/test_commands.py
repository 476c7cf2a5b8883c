"""Commands over HTTP: what they answer, and what the jobs service gets to see."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import ActorKind, Role
from jobplane.contracts.commands import CreateJob
from jobplane.gateway import control_bus
from tests.integration.gateway.conftest import Running, code_of
from tests.integration.gateway.scripted_jobs import done, job, refused
from tests.support.waiting import eventually

JOBS = "/api/admin/jobs"


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    return await gateway.bearer()


async def test_a_created_job_is_answered_with_its_place_and_version(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    run_at = datetime.now(UTC) + timedelta(hours=1)
    body = {
        "kind": "image.convert",
        "payload": {"format": "webp", "nothing": None},
        "queue": "slow",
        "priority": 5,
        "run_at": run_at.isoformat(),
        "max_attempts": 2,
        "timeout_s": 1.5,
        "tags": ["a", "b"],
        "unique_key": "one",
        "reason": "asked by mail",
    }
    answer = await admin.post(JOBS, json=body)
    assert answer.status_code == 201
    sent = gateway.jobs.commands[0]
    assert answer.headers["location"] == f"{JOBS}/{sent.command.target}"
    assert answer.headers["etag"] == '"2"'
    assert answer.json()["id"] == sent.command.target
    assert sent.reason == "asked by mail"
    assert sent.actor.kind is ActorKind.TOKEN
    assert sent.actor.role is Role.ADMIN
    assert sent.actor.origin is not None
    assert isinstance(sent.command, CreateJob)
    assert sent.command.payload == {"format": "webp", "nothing": None}
    assert sent.command.run_at == run_at
    assert sent.command.timeout_ms == 1500
    assert UUID(sent.command.target).version == 7
    assert UUID(sent.command_id).version == 7


async def test_a_taken_unique_key_answers_the_job_that_has_it(gateway: Running, admin: httpx2.AsyncClient) -> None:
    holder = job()
    gateway.jobs.decide = lambda message: done(message, code="already_exists", job=holder, job_id=holder.id)
    answer = await admin.post(JOBS, json={"kind": "x", "payload": {}, "unique_key": "k"})
    assert answer.status_code == 200
    assert answer.json()["id"] == holder.id
    assert answer.headers["location"] == f"{JOBS}/{holder.id}"


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [
        ("POST", "/retry", "retry"),
        ("POST", "/cancel", "cancel"),
        ("POST", "/run", "run"),
        ("POST", "/restore", "restore"),
        ("DELETE", "", "cancel"),
    ],
)
async def test_every_action_sends_its_command(
    gateway: Running, admin: httpx2.AsyncClient, method: str, path: str, verb: str
) -> None:
    job_id = new_id()
    answer = await admin.request(method, f"{JOBS}/{job_id}{path}")
    assert answer.status_code == 200
    sent = gateway.jobs.commands[0]
    assert (sent.command.type, sent.command.target) == (verb, job_id)
    assert answer.json()["command_id"] == sent.command_id
    assert answer.json()["position"] == 7
    assert answer.json()["job"]["id"] == job_id
    assert answer.headers["etag"] == '"2"'


async def test_a_reason_may_stand_in_the_body_or_the_query(gateway: Running, admin: httpx2.AsyncClient) -> None:
    await admin.post(f"{JOBS}/{new_id()}/cancel", json={"reason": "  too late  "})
    await admin.delete(f"{JOBS}/{new_id()}", params={"reason": "wrong file"})
    assert [sent.reason for sent in gateway.jobs.commands] == ["too late", "wrong file"]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("job_not_found", 404),
        ("job_not_failed", 409),
        ("job_finished", 409),
        ("unique_key_taken", 409),
        ("a_code_of_tomorrow", 409),
        ("version_conflict", 412),
        ("idempotency_key_reused", 422),
    ],
)
async def test_a_refusal_has_the_status_of_its_code_and_the_facts(
    gateway: Running, admin: httpx2.AsyncClient, code: str, status: int
) -> None:
    gateway.jobs.decide = lambda message: refused(message, code, holder="somebody", status="RUNNING")
    answer = await admin.post(f"{JOBS}/{new_id()}/retry")
    assert answer.status_code == status
    assert code_of(answer) == code
    problem = answer.json()
    assert problem["holder"] == "somebody"
    assert problem["job_status"] == "RUNNING"
    assert problem["version"] == 4
    assert problem["command_id"] == gateway.jobs.commands[0].command_id


async def test_the_same_key_makes_the_same_command(gateway: Running, admin: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k-1"}
    first = await admin.post(JOBS, json={"kind": "x", "payload": {"a": 1, "b": 2}}, headers=headers)
    again = await admin.post(JOBS, json={"payload": {"b": 2, "a": 1}, "kind": "x"}, headers=headers)
    other = await admin.post(JOBS, json={"kind": "y", "payload": {}}, headers=headers)
    assert {first.status_code, again.status_code, other.status_code} == {201}
    one, two, three = gateway.jobs.commands
    assert one.command_id == two.command_id == three.command_id
    assert one.body_digest == two.body_digest != three.body_digest
    assert one.command.target != two.command.target


async def test_the_same_key_of_somebody_else_or_for_something_else_is_another_command(gateway: Running) -> None:
    headers = {"Idempotency-Key": "k-1"}
    one, two, job_id = await gateway.bearer(), await gateway.bearer(), new_id()
    await one.post(f"{JOBS}/{job_id}/retry", headers=headers)
    await two.post(f"{JOBS}/{job_id}/retry", headers=headers)
    await one.post(f"{JOBS}/{job_id}/cancel", headers=headers)
    assert len({sent.command_id for sent in gateway.jobs.commands}) == 3


async def test_if_match_becomes_the_expected_version(gateway: Running, admin: httpx2.AsyncClient) -> None:
    path = f"{JOBS}/{new_id()}/retry"
    await admin.post(path, headers={"If-Match": '"3"'})
    await admin.post(path, headers={"If-Match": "*"})
    assert [sent.expected_version for sent in gateway.jobs.commands] == [3, None]
    assert (await admin.post(path, headers={"If-Match": "three"})).status_code == 422


async def test_an_undecided_command_can_be_followed(gateway: Running, admin: httpx2.AsyncClient) -> None:
    gateway.jobs.decide = lambda _message: None
    answer = await admin.post(f"{JOBS}/{new_id()}/retry", headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    told = answer.json()
    assert answer.headers["location"] == told["status_url"]
    status = await admin.get(told["status_url"])
    assert status.json()["status"] == "pending"
    outcome = done(gateway.jobs.commands[0])
    gateway.jobs.answers["jobs.query.command"] = outcome.model_dump(mode="json")
    status = await admin.get(told["status_url"])
    assert status.json()["status"] == "done"
    assert status.json()["position"] == 7
    assert status.json()["job"]["id"] == outcome.job_id


async def test_a_command_that_nobody_decided_in_its_hour_is_refused(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    gateway.jobs.decide = lambda _message: None
    told = (await admin.post(f"{JOBS}/{new_id()}/retry", headers={"Prefer": "wait=0"})).json()
    async with gateway.pool.connection() as conn:
        await conn.execute("UPDATE pending_command SET created_at = now() - interval '62 minutes'")
    status = (await admin.get(told["status_url"])).json()
    assert (status["status"], status["code"]) == ("refused", "command_expired")
    del gateway.jobs.answers["jobs.query.command"]
    assert code_of(await admin.get(told["status_url"])) == "unavailable"


async def test_respond_async_does_not_wait(gateway: Running, admin: httpx2.AsyncClient) -> None:
    answer = await admin.post(f"{JOBS}/{new_id()}/retry", headers={"Prefer": "respond-async, wait=30"})
    assert answer.status_code == 202
    assert answer.json()["command_id"] == gateway.jobs.commands[0].command_id


async def test_an_outcome_within_the_wait_is_answered(gateway: Running, admin: httpx2.AsyncClient) -> None:
    gateway.jobs.decide = lambda _message: None
    asked = asyncio.create_task(admin.post(f"{JOBS}/{new_id()}/retry", headers={"Prefer": "wait=20"}))
    await gateway.jobs.decide_last()
    assert (await asked).status_code == 200


async def test_who_still_waits_when_the_gateway_ends_is_told_where_to_ask(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    gateway.jobs.decide = lambda _message: None
    asked = asyncio.create_task(admin.post(f"{JOBS}/{new_id()}/retry", headers={"Prefer": "wait=20"}))
    await eventually(lambda: gateway.jobs.commands)
    await gateway.end()
    answer = await asked
    assert answer.status_code == 202
    assert answer.json()["command_id"] == gateway.jobs.commands[0].command_id


async def test_an_unknown_command_is_not_found(admin: httpx2.AsyncClient) -> None:
    answer = await admin.get(f"/api/admin/commands/{new_id()}")
    assert answer.status_code == 404
    assert code_of(answer) == "command_not_found"


async def test_without_a_bus_commands_are_not_accepted_and_not_carried_out_later(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    await admin.post(f"{JOBS}/{new_id()}/retry")
    gateway.bus.stop()
    answer = await admin.post(f"{JOBS}/{new_id()}/retry")
    assert answer.status_code == 503
    assert code_of(answer) == "not_accepted"
    assert int(answer.headers["retry-after"]) > 0
    gateway.bus.start()
    assert len(gateway.jobs.commands) == 1


async def test_the_trace_of_the_caller_goes_on(gateway: Running, admin: httpx2.AsyncClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = await admin.post(f"{JOBS}/{new_id()}/retry", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.headers["x-trace-id"] == trace
    assert gateway.jobs.traces[0].split("-")[1] == trace


async def test_lists_leave_out_what_is_large(gateway: Running, admin: httpx2.AsyncClient) -> None:
    error: dict[str, Any] = {"type": "E", "message": "m", "stack": "long", "fingerprint": "0" * 16}
    item = job().model_dump(mode="json") | {"error": error}
    gateway.jobs.answers["jobs.query.list"] = {"items": [item], "next_cursor": "c"}
    page = (await admin.get(JOBS, params={"status": ["FAILED", "PENDING"], "limit": 1})).json()
    assert page["next_cursor"] == "c"
    assert not {"payload", "result"} & page["items"][0].keys()
    assert page["items"][0]["error"] == {"type": "E", "message": "m", "fingerprint": "0" * 16}
    subject, asked = gateway.jobs.asked[-1]
    assert subject == "jobs.query.list"
    assert b'"status":["FAILED","PENDING"]' in asked


async def test_a_service_that_does_not_answer_is_unavailable(admin: httpx2.AsyncClient) -> None:
    answer = await admin.get("/api/admin/stats")
    assert answer.status_code == 503
    assert code_of(answer) == "unavailable"


async def test_a_command_that_nobody_confirms_can_be_asked_about(
    gateway: Running, admin: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_bus, "_ACCEPT_S", 0.05)
    monkeypatch.setattr(control_bus, "_acknowledged", lambda *_told: None)
    gateway.jobs.decide = lambda _message: None
    answer = await admin.post(f"{JOBS}/{new_id()}/retry", headers={"Prefer": "wait=0"})
    assert answer.status_code == 503
    assert code_of(answer) == "not_accepted"
    sent = gateway.jobs.commands[0]
    assert answer.json()["command_id"] == sent.command_id
    assert (await admin.get(answer.json()["status_url"])).json()["status"] == "pending"


async def test_without_its_stream_nothing_is_accepted(gateway: Running, admin: httpx2.AsyncClient) -> None:
    nc = await chassis_bus.connect(gateway.bus.url("topology"), user="topology", name="topology")
    await nc.request("$JS.API.STREAM.DELETE.CMD", b"")
    await chassis_bus.close(nc)
    await gateway.jobs.stop()
    answer = await admin.post(f"{JOBS}/{new_id()}/retry")
    assert answer.status_code == 503
    assert code_of(answer) == "not_accepted"
    assert "command_id" not in answer.json()
