"""A journal, its relay and its bus, without a service around them."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.projection import Projection
from jobplane.chassis.relay import Relay
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.topology import EVT_JOBS
from tests.integration.chassis.projecting import Make, Rows
from tests.integration.chassis.relaying import relay_of
from tests.support.servers import Bus, Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    """Connections with the rights of the jobs service, whose schema has a journal."""
    async with database.pool("jobs") as opened:
        yield opened


@pytest.fixture
def journal(pool: AsyncConnectionPool) -> Journal:
    """An empty journal in PostgreSQL."""
    return Journal(pool)


@pytest.fixture
async def reading(bus: Bus) -> AsyncIterator[Connection]:
    """A connection that may read every stream."""
    async with bus.connected("test") as connection:
        yield connection


@pytest.fixture
async def relaying(bus: Bus) -> AsyncIterator[Connection]:
    """A connection with the rights of the relay of jobs."""
    async with bus.connected("jobs-relay") as connection:
        yield connection


@pytest.fixture
def relay(bus: Bus, journal: Journal, relaying: Connection) -> Relay:
    """A relay as the jobs service wires it; it is not running."""
    return relay_of(bus, journal, relaying)


@pytest.fixture
def rows(database: Database) -> Rows:
    """A table for what projections see."""
    return Rows(database)


@pytest.fixture
async def following(bus: Bus) -> AsyncIterator[Connection]:
    """A connection with the rights of whoever reads for audit."""
    async with bus.connected("audit-reader") as connection:
        yield connection


@pytest.fixture
async def pools(database: Database) -> AsyncIterator[list[AsyncConnectionPool]]:
    """Those of two replicas."""
    opened = [await databases.open_pool(database.url("audit"), schema="audit", service="audit") for _ in range(2)]
    yield opened
    for pool in opened:
        await pool.close()


@pytest.fixture
async def make(
    pools: list[AsyncConnectionPool], following: Connection, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    """Starts projections that write into `rows` and try again soon, and stops them at the end."""
    monkeypatch.setattr("jobplane.chassis.projection._AGAIN_S", 0.05)
    monkeypatch.setattr("jobplane.chassis.projection._SLOWEST_S", 0.1)
    made: list[Projection] = []

    def start(name: str = "a", *, fold: Any = None, **more: Any) -> Projection:
        async def insert(conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
            async with conn.cursor() as cursor:
                values = [(event.position, event.id, name) for event in events]
                await cursor.executemany("INSERT INTO seen VALUES (%s, %s, %s)", values)
            if fold is not None:
                await fold(conn, events)

        pool = pools[0 if name == "a" else 1]
        projection = Projection(pool, following, EVT_JOBS, "test", insert, **({"batch": 7} | more))
        projection.start()
        made.append(projection)
        return projection

    yield start
    for projection in made:
        await projection.stop()
