"""A journal, its relay and its bus, without a service around them."""

from collections.abc import AsyncIterator

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database as databases
from jobplane.chassis.journal import Journal
from tests.support.servers import Database


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
