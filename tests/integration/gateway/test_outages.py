"""What the gateway answers when a part it needs is away."""

from pathlib import Path

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role
from jobplane.contracts.ids import CommandId
from jobplane.gateway import control_bus, pending, sessions
from jobplane.gateway.housekeeping import Housekeeping
from tests.integration.gateway.conftest import ADMIN_PASSWORD, code_of, running
from tests.integration.gateway.scripted_jobs import job
from tests.support.servers import Bus, Database, PrivateDatabase
from tests.support.waiting import eventually


async def test_verified_logins_outlive_the_database_for_a_minute_and_nobody_new_gets_in(
    bus: Bus, private_database: PrivateDatabase, tmp_path: Path
) -> None:
    async with running(bus, private_database, tmp_path) as gateway:
        known, stranger = await gateway.bearer(Role.VIEWER), await gateway.bearer(Role.VIEWER)
        view = job()
        gateway.jobs.answers["jobs.query.detail"] = view.model_dump(mode="json")
        path = f"/api/admin/jobs/{view.id}"
        assert (await known.get(path)).status_code == 200
        now = [0.0]
        gateway.gateway.sessions._monotonic = lambda: now[0]
        gateway.gateway.sessions.forget()
        assert (await known.get(path)).status_code == 200
        private_database.stop()
        now[0] = sessions.FRESH_S + 1
        assert (await known.get(path)).status_code == 200
        assert code_of(await stranger.get(path)) == "unavailable"
        body = {"username": "admin", "password": ADMIN_PASSWORD}
        assert (await gateway.client().post("/api/admin/session", json=body)).status_code == 503
        assert (await gateway.client().get("/readyz")).status_code == 503
        assert (await gateway.client().get("/healthz")).status_code == 200
        now[0] = sessions.STALE_S + 1
        answer = await known.get(path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        private_database.start()
        now[0] += sessions.STALE_S

        async def back() -> bool:
            now[0] += 10
            return (await known.get(path)).status_code == 200

        await eventually(back, timeout=15)


async def test_without_the_bus_the_gateway_is_not_ready(
    bus: Bus, private_database: PrivateDatabase, tmp_path: Path
) -> None:
    async with running(bus, private_database, tmp_path) as gateway:
        client = gateway.client()
        assert (await client.get("/readyz")).status_code == 200
        bus.stop()
        await eventually(lambda: not gateway.gateway.bus.connected)
        assert (await client.get("/readyz")).text == "the bus is away\n"
        bus.start()

        async def back() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await eventually(back, timeout=10)


async def test_without_the_database_a_command_is_accepted_and_can_be_asked_about(
    bus: Bus, private_database: PrivateDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(bus, private_database, tmp_path) as gateway:
        gateway.jobs.decide = lambda _message: None
        admin, run = await gateway.bearer(), gateway.gateway
        assert (await admin.get("/api/admin/session")).status_code == 200
        private_database.stop()
        path, at_once = f"/api/admin/jobs/{new_id()}/retry", {"Prefer": "wait=0"}
        accepted = await admin.post(path, headers=at_once)
        assert accepted.status_code == 202
        monkeypatch.setattr(control_bus, "_ACCEPT_S", 0.05)
        monkeypatch.setattr(control_bus, "_acknowledged", lambda *_told: None)
        unconfirmed = await admin.post(path, headers=at_once)
        assert code_of(unconfirmed) == "not_accepted"
        told = [accepted.json(), unconfirmed.json()]
        for answer in told:
            assert (await admin.get(answer["status_url"])).json()["status"] == "pending"
        await run.pending.flush()
        assert await run.pending.standing(told[0]["command_id"]) is pending.Standing.PENDING
        private_database.start()

        async def written() -> bool:
            other = pending.PendingCommands(run.pool)
            try:
                await Housekeeping(run).run_once()
                known = [await other.standing(CommandId(answer["command_id"])) for answer in told]
            except (psycopg.Error, PoolTimeout):
                return False
            return known == [pending.Standing.PENDING] * 2

        await eventually(written, timeout=15)


async def test_only_so_many_commands_are_kept_for_a_database_that_is_away(
    bus: Bus, private_database: PrivateDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST_KEPT", 2)
    monkeypatch.setattr(pending, "_LEND_S", 0.1)
    async with running(bus, private_database, tmp_path) as gateway:
        private_database.stop()
        ids = [CommandId(new_id()) for _ in range(3)]
        for id_ in ids:
            await gateway.gateway.pending.add(id_, new_id())
        assert list(gateway.gateway.pending._kept) == ids[1:]
        private_database.start()


async def test_too_many_requests_must_wait(bus: Bus, database: Database, tmp_path: Path) -> None:
    async with running(bus, database, tmp_path, requests_per_s=5) as gateway:
        client, other = await gateway.bearer(Role.VIEWER), await gateway.bearer(Role.VIEWER)
        answers = [(await client.get("/api/admin/session")) for _ in range(14)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 1 <= len(refused) <= 4
        assert code_of(refused[0]) == "rate_limited"
        assert int(refused[0].headers["retry-after"]) >= 1
        assert (await other.get("/api/admin/session")).status_code == 200
        assert {event["code"] for event in await gateway.recorded("command.refused.v1")} == {"rate_limited"}
