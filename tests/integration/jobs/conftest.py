"""The jobs service in this process, on a real bus and a real database: one per module, a queue of its own per test."""

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from nats.errors import Error as NatsError
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.jobs.__main__ import serve
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.settings import Settings
from tests.integration.jobs.driving import Driver
from tests.integration.jobs.truth import assert_consistent, assert_controls_are_folds
from tests.support import servers
from tests.support.servers import Bus, Database, PrivateDatabase
from tests.support.waiting import eventually

_numbers = itertools.count(1)


def settings_for(bus: Bus, database: Database | PrivateDatabase, **more: Any) -> Settings:
    """The settings of a jobs service on these servers."""
    told: dict[str, Any] = {
        "instance": "jobs-1",
        "nats_url": bus.url("jobs"),
        "intake_nats_url": bus.url("jobs-intake"),
        "relay_nats_url": bus.url("jobs-relay"),
        "topology_nats_url": bus.url("topology"),
        "database_url": database.url("jobs"),
    }
    return Settings(**(told | more))


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

    await eventually(answers, timeout=15)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)


@pytest.fixture(scope="module")
def database(migrated_template: Database) -> Iterator[Database]:
    """One database for all tests of a module."""
    copy = servers.copy_of(migrated_template)
    yield copy
    servers.drop(copy)


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    """One nats-server for all tests of a module."""
    server = Bus(tmp_path_factory.mktemp("bus"))
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.directory, ignore_errors=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(bus: Bus) -> AsyncIterator[Connection]:
    """A connection with the gateway's rights."""
    async with bus.connected("gateway") as connection:
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(bus: Bus) -> AsyncIterator[Connection]:
    """A connection with a worker's rights."""
    async with bus.connected("worker") as connection:
        yield connection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def jobs(bus: Bus, database: Database, gateway: Connection) -> AsyncIterator[Settings]:
    """A running jobs service."""
    settings = settings_for(bus, database)
    async with running(settings, gateway):
        yield settings


@pytest.fixture
def driver(jobs: Settings, gateway: Connection, worker: Connection, database: Database) -> Iterator[Driver]:
    """Gateway and workers on a queue that no other test uses; all jobs must be what their events say afterwards."""
    yield Driver(gateway, worker, queue=f"queue-{next(_numbers)}", owner_url=database.owner_url)
    assert_consistent(database.owner_url)
    assert_controls_are_folds(database.owner_url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    """Connections with the service's rights."""
    opened = await databases.open_pool(database.url("jobs"), schema="jobs", service="jobs", min_size=2)
    yield opened
    await opened.close()


@pytest.fixture
def ledger(pool: AsyncConnectionPool) -> Ledger:
    """A ledger without a service around it."""
    return Ledger(PostgresStore(Journal(pool)))
