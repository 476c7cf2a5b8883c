"""A journal, its relay and its bus, without a service around them."""

from collections.abc import AsyncIterator

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import bus as buses
from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.relay import Relay
from tests.integration.chassis.relaying import relay_of
from tests.support.servers import Bus, Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    """Connections with the rights of the jobs service, whose schema has a journal."""
    opened = await databases.open_pool(database.url("jobs"), schema="jobs", service="jobs")
    yield opened
    await opened.close()


@pytest.fixture
def journal(pool: AsyncConnectionPool) -> Journal:
    """An empty journal in PostgreSQL."""
    return Journal(pool)


@pytest.fixture
async def reading(bus: Bus) -> AsyncIterator[Connection]:
    """A connection that may read every stream."""
    connection = await buses.connect(bus.url("test"), user="test", name="reading")
    yield connection
    await buses.close(connection)


@pytest.fixture
async def relaying(bus: Bus) -> AsyncIterator[Connection]:
    """A connection with the rights of the relay of jobs."""
    connection = await buses.connect(bus.url("jobs-relay"), user="jobs-relay", name="relaying")
    yield connection
    await buses.close(connection)


@pytest.fixture
def relay(bus: Bus, journal: Journal, relaying: Connection) -> Relay:
    """A relay as the jobs service wires it; it is not running."""
    return relay_of(bus, journal, relaying)
