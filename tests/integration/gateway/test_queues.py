"""Queues over HTTP: what is asked becomes the right command, what is wrong is refused before."""

from typing import Any

import pytest

from jobplane.contracts.actors import Role
from jobplane.contracts.queues import LimitQueue, Limits, PauseQueue, QueueCommand, Rate, ResumeQueue
from tests.integration.gateway.conftest import Running, code_of
from tests.integration.gateway.scripted_jobs import NOW, done, refused

API = "/api/admin"


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("queues/mail/pause", PauseQueue(queue="mail")),
        ("queues/mail/drain", PauseQueue(queue="mail", drain=True)),
        ("queues/mail/resume", ResumeQueue(queue="mail")),
        ("kinds/mail.send/pause", PauseQueue(kind="mail.send")),
        ("kinds/mail.send/drain", PauseQueue(kind="mail.send", drain=True)),
        ("kinds/mail.send/resume", ResumeQueue(kind="mail.send")),
    ],
)
async def test_an_admin_controls_a_queue_or_a_kind(gateway: Running, path: str, command: QueueCommand) -> None:
    admin = await gateway.bearer(Role.ADMIN)
    answer = await admin.post(f"{API}/{path}", json={"reason": "it burns"})
    [sent] = gateway.jobs.commands
    assert (sent.command, sent.reason) == (command, "it burns")
    assert answer.status_code == 200
    told = {command.TARGET: command.target}
    assert answer.json() == {"queue": told, "position": 7, "command_id": sent.command_id}


async def test_limits_take_the_place_of_those_before(gateway: Running) -> None:
    admin = await gateway.bearer(Role.ADMIN)
    body = {"concurrency": 5, "rate": {"starts": 10, "every_s": 60, "burst": 3}}
    assert (await admin.put(f"{API}/queues/mail/limits", json=body)).status_code == 200
    assert (await admin.put(f"{API}/kinds/a.b/limits", json={"concurrency": None, "rate": None})).status_code == 200
    first, second = (sent.command for sent in gateway.jobs.commands)
    assert first == LimitQueue(queue="mail", limits=Limits(concurrency=5, rate=Rate(starts=10, every_s=60, burst=3)))
    assert second == LimitQueue(kind="a.b", limits=Limits())


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"concurrency": 5},
        {"concurrency": 0, "rate": None},
        {"concurrency": "5", "rate": None},
        {"concurrency": None, "rate": {"starts": 0}},
        {"concurrency": None, "rate": {"every_s": 60}},
        {"concurrency": None, "rate": None, "speed": 1},
    ],
)
async def test_limits_that_make_no_sense_are_refused(gateway: Running, body: dict[str, Any]) -> None:
    answer = await (await gateway.bearer(Role.ADMIN)).put(f"{API}/queues/mail/limits", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert gateway.jobs.commands == []


async def test_a_name_that_no_queue_can_have_is_refused(gateway: Running) -> None:
    answer = await (await gateway.bearer(Role.ADMIN)).post(f"{API}/queues/No%20Queue/pause")
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")


async def test_a_refusal_tells_why(gateway: Running) -> None:
    gateway.jobs.decide = lambda message: refused(message, "already_paused", since="2026-11-22T12:00:00Z")
    answer = await (await gateway.bearer(Role.ADMIN)).post(f"{API}/queues/mail/pause")
    assert (answer.status_code, code_of(answer)) == (409, "already_paused")
    assert answer.json()["since"] == "2026-11-22T12:00:00Z"


async def test_one_that_is_not_decided_in_time_is_accepted(gateway: Running) -> None:
    gateway.jobs.decide = lambda _message: None
    admin = await gateway.bearer(Role.ADMIN)
    answer = await admin.post(f"{API}/queues/mail/pause", headers={"Prefer": "respond-async"})
    assert answer.status_code == 202
    assert answer.json()["status_url"] == answer.headers["location"]


async def test_the_answer_to_a_pause_names_who_did_it(gateway: Running) -> None:
    admin = await gateway.bearer(Role.ADMIN)
    me = (await admin.get(f"{API}/session")).json()
    by = {"id": me["id"], "kind": "user", "role": "ADMIN", "origin": None}
    facts = {"queue": "mail", "paused": {"at": NOW.isoformat(), "by": by, "reason": None, "drain": False}}
    gateway.jobs.decide = lambda message: done(message).model_copy(update={"facts": facts})
    shown = (await admin.post(f"{API}/queues/mail/pause")).json()["queue"]
    assert shown["paused"]["by_name"] == me["name"]


async def test_a_list_names_who_paused(gateway: Running) -> None:
    viewer = await gateway.bearer(Role.VIEWER)
    me = (await viewer.get(f"{API}/session")).json()
    by = {"id": me["id"], "kind": "user", "role": "ADMIN", "origin": None}
    paused = {"at": NOW.isoformat(), "by": by, "reason": None, "drain": False}
    queue = {"queue": "mail", "state": "paused", "running": 0, "paused": paused, "limits": None, "version": 1}
    gateway.jobs.answers["jobs.query.queues"] = {"queues": [queue], "kinds": [], "position": 1}
    [shown] = (await viewer.get(f"{API}/queues")).json()["queues"]
    assert shown["paused"]["by_name"] == me["name"]


async def test_a_list_tells_how_fast_each_queue_goes_and_who_looks_after_it(gateway: Running) -> None:
    viewer = await gateway.bearer(Role.VIEWER)
    queue = {"queue": "mail", "state": "active", "running": 0, "paused": None, "limits": None, "version": 0}
    idle = queue | {"queue": "idle"}
    lately = {"started": 9, "completed": 7, "failed": 2, "workers": 3}
    gateway.jobs.answers["jobs.query.queues"] = {"queues": [queue, idle], "kinds": [], "position": 1}
    gateway.jobs.answers["health.query.queues"] = {"window_s": 270.0, "queues": {"mail": lately}}
    busy, quiet = (await viewer.get(f"{API}/queues")).json()["queues"]
    assert busy["throughput"] == {"window_s": 270.0, "started": 9, "completed": 7, "failed": 2, "per_minute": 2.0}
    assert (busy["workers"], quiet["workers"], quiet["throughput"]["per_minute"]) == (3, 0, 0.0)


async def test_queues_are_listed_while_the_health_service_is_away(gateway: Running) -> None:
    viewer = await gateway.bearer(Role.VIEWER)
    queue = {"queue": "mail", "state": "active", "running": 0, "paused": None, "limits": None, "version": 0}
    gateway.jobs.answers["jobs.query.queue"] = queue
    gateway.jobs.answers["health.query.queues"] = {
        "problem": {"code": "database_unavailable", "detail": "No.", "facts": {"retry_after_s": 2}}
    }
    answer = await viewer.get(f"{API}/queues/mail")
    assert answer.status_code == 200
    assert answer.json() == queue
