"""What the gateway answers when a part it needs is away."""

from pathlib import Path

from jobplane.contracts.actors import Role
from jobplane.gateway import sessions
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
