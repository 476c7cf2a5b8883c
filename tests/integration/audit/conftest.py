"""The audit service's parts on real servers."""

from collections.abc import AsyncIterator

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.bus import Connection
from tests.support.events import ensure_streams
from tests.support.servers import Bus, Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    async with database.pool("audit") as opened:
        yield opened


@pytest.fixture
async def reader(bus: Bus) -> AsyncIterator[Connection]:
    """The service's own reading connection, on a bus that has its streams."""
    await ensure_streams(bus)
    async with bus.connected("audit-reader") as nc:
        yield nc


@pytest.fixture
async def jobs_relay(bus: Bus) -> AsyncIterator[Connection]:
    async with bus.connected("jobs-relay") as nc:
        yield nc


@pytest.fixture
async def admin_relay(bus: Bus) -> AsyncIterator[Connection]:
    async with bus.connected("gateway-relay") as nc:
        yield nc
