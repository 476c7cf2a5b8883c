"""The jobs service in this process, on a real bus and a real database."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from nats.errors import Error as NatsError

from jobplane.chassis import bus as buses
from jobplane.chassis.bus import Connection
from jobplane.jobs.__main__ import serve
from jobplane.jobs.settings import Settings
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually


def settings_for(bus: Bus, database: Database, **more: object) -> Settings:
    """The settings of a jobs service on these servers."""
    return Settings(
        instance="jobs-1",
        nats_url=bus.url("jobs"),
        intake_nats_url=bus.url("jobs-intake"),
        relay_nats_url=bus.url("jobs-relay"),
        topology_nats_url=bus.url("topology"),
        database_url=database.url("jobs"),
        **more,
    )


@contextlib.asynccontextmanager
async def running(settings: Settings, gateway: Connection) -> AsyncIterator[None]:
    """The service, ready; stopped in order at the end."""
    stop = asyncio.Event()
    task = asyncio.create_task(serve(settings, stop))

    async def answers() -> bool:
        if task.done():
            task.result()
        try:
            return b'"ok"' in (await gateway.request("jobs.query.journal", b"{}", timeout=0.3)).data
        except (NatsError, TimeoutError):
            return False

    await eventually(answers)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


@pytest.fixture
async def gateway(bus: Bus) -> AsyncIterator[Connection]:
    """A connection with the gateway's rights."""
    connection = await buses.connect(bus.url("gateway"), user="gateway", name="test gateway")
    yield connection
    await buses.close(connection)


@pytest.fixture
async def worker(bus: Bus) -> AsyncIterator[Connection]:
    """A connection with a worker's rights."""
    connection = await buses.connect(bus.url("worker"), user="worker", name="test worker")
    yield connection
    await buses.close(connection)


@pytest.fixture
async def jobs(bus: Bus, database: Database, gateway: Connection) -> AsyncIterator[Settings]:
    """A running jobs service."""
    settings = settings_for(bus, database)
    async with running(settings, gateway):
        yield settings
