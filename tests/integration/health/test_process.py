"""The health and audit services as their processes run them, asked as the gateway asks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from jobplane.audit.__main__ import run as run_audit
from jobplane.audit.settings import AuditSettings
from jobplane.chassis import clock, queries
from jobplane.chassis.bus import Connection
from jobplane.contracts.audit import AuditPage, AuditQuery
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.fleet import CheckStatus, DetailedHealth, QueueActivities, QueueActivity
from jobplane.contracts.queries import Nothing
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from jobplane.health.__main__ import run as run_health
from jobplane.health.settings import HealthSettings
from tests.integration.health.conftest import Connect, JobsPeer
from tests.support.events import lifecycle, login, publish
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually


@asynccontextmanager
async def services(bus: Bus, database: Database, gateway: Connection) -> AsyncIterator[None]:
    """Both services, once they answer; ended as SIGTERM ends them."""
    stop = asyncio.Event()
    audit = AuditSettings(
        instance="audit-1",
        nats_url=SecretStr(bus.url("audit")),
        reader_nats_url=SecretStr(bus.url("audit-reader")),
        database_url=SecretStr(database.url("audit")),
    )
    health = HealthSettings(
        instance="health-1",
        nats_url=SecretStr(bus.url("health")),
        reader_nats_url=SecretStr(bus.url("health-reader")),
        database_url=SecretStr(database.url("health")),
    )
    running = [asyncio.create_task(run_audit(audit, stop)), asyncio.create_task(run_health(health, stop))]

    async def answering() -> bool:
        try:
            await ask_audit(gateway, AuditQuery())
            await ask_health(gateway)
        except Unavailable:
            return False
        return True

    try:
        await eventually(answering, timeout=10)
        yield
    finally:
        stop.set()
        async with asyncio.timeout(4):
            await asyncio.gather(*running)


async def ask_audit(nc: Connection, query: AuditQuery) -> AuditPage:
    return await queries.ask(nc, "audit", "list", query, AuditPage)


async def ask_health(nc: Connection) -> DetailedHealth:
    return await queries.ask(nc, "health", "detailed", Nothing(), DetailedHealth, timeout_s=5)


async def test_events_can_be_asked_for_and_the_fleet_is_seen(
    bus: Bus, database: Database, connect: Connect, jobs: JobsPeer
) -> None:
    gateway = await connect("gateway")
    await publish(await connect("jobs-relay"), EVT_JOBS, lifecycle(1, at=clock.now(), queue="mail", failed=True))
    await publish(await connect("gateway-relay"), EVT_ADMIN, [login(1)])
    async with services(bus, database, gateway):

        async def recorded() -> bool:
            return len((await ask_audit(gateway, AuditQuery())).items) == 4

        await eventually(recorded, timeout=10)
        with pytest.raises(Refused, match="invalid_cursor"):
            await ask_audit(gateway, AuditQuery(cursor="!"))

        async def both_heard() -> bool:
            health = await ask_health(gateway)
            return [process.instance for process in health.services] == ["audit-1", "health-1"]

        await eventually(both_heard, timeout=10)

        async def counted() -> bool:
            lately = await queries.ask(gateway, "health", "queues", Nothing(), QueueActivities)
            assert 240 <= lately.window_s <= 300
            return lately.queues == {"mail": QueueActivity(started=1, failed=1)}

        await eventually(counted, timeout=10)


async def test_a_hole_in_a_stream_shows_in_the_health(
    bus: Bus, database: Database, connect: Connect, jobs: JobsPeer
) -> None:
    test, gateway = await connect("test"), await connect("gateway")
    config = (await test.jetstream().stream_info(EVT_JOBS)).config
    await test.jetstream().delete_stream(EVT_JOBS)
    await test.jetstream().add_stream(config, deny_delete=False)
    await publish(test, EVT_JOBS, lifecycle(1))
    assert await test.jetstream().delete_msg(EVT_JOBS, 2)
    async with services(bus, database, gateway):
        await eventually(lambda: audit_fails(gateway, "3 where 2 comes next"), timeout=20)


async def test_a_projection_that_waits_for_the_owner_of_the_journal_shows_in_the_health(
    bus: Bus, database: Database, connect: Connect
) -> None:
    test, gateway = await connect("test"), await connect("gateway")
    config = (await test.jetstream().stream_info(EVT_JOBS)).config
    await test.jetstream().delete_stream(EVT_JOBS)
    await test.jetstream().add_stream(config, first_seq=3)
    async with services(bus, database, gateway):
        await eventually(lambda: audit_fails(gateway, "Waiting: the jobs service is not running"), timeout=20)


async def audit_fails(gateway: Connection, because: str) -> bool:
    """Whether the health says that audit does not follow the jobs, and why."""
    health = await ask_health(gateway)
    check = next((check for check in health.checks if check.name == "projection.lag.audit.EVT_JOBS"), None)
    assert check is not None, [found.name for found in health.checks]
    assert check.status is CheckStatus.FAIL, check
    return because in check.advice
