"""The audit service's parts on real servers."""

from collections.abc import AsyncIterator

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import bus as buses
from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from tests.support.events import ensure_streams
from tests.support.servers import Bus, Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    opened = await databases.open_pool(database.url("audit"), schema="audit", service="audit")
    yield opened
    await opened.close()


@pytest.fixture
async def reader(bus: Bus) -> AsyncIterator[Connection]:
    """The service's own reading connection, on a bus that has its streams."""
    await ensure_streams(bus)
    nc = await buses.connect(bus.url("audit-reader"), user="audit-reader", name="audit-1")
    yield nc
    await buses.close(nc)


@pytest.fixture
async def jobs_relay(bus: Bus) -> AsyncIterator[Connection]:
    nc = await buses.connect(bus.url("jobs-relay"), user="jobs-relay", name="relay of jobs")
    yield nc
    await buses.close(nc)


@pytest.fixture
async def admin_relay(bus: Bus) -> AsyncIterator[Connection]:
    nc = await buses.connect(bus.url("gateway-relay"), user="gateway-relay", name="relay of gateway")
    yield nc
    await buses.close(nc)
