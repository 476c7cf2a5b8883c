"""Audit was away for longer than the bus keeps events: its entries are those of one that never was."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.audit.subscribers import projections
from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from tests.support import servers
from tests.support.events import lifecycles, login
from tests.support.journals import owner, record
from tests.support.retention import keep, remake
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

JOBS, LOGINS = 30, 7
_ENTRIES = "SELECT (to_jsonb(audit_log) - 'position')::text FROM audit_log ORDER BY source, source_position, index"


@asynccontextmanager
async def audit(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    pool = await databases.open_pool(database.url("audit"), schema="audit", service="audit")
    try:
        yield pool
    finally:
        await pool.close()


async def folded(pool: AsyncConnectionPool, nc: Connection, wanted: dict[str, int]) -> list[str]:
    """The entries, without the display positions, once all events are folded."""
    made = projections(pool, nc)
    for projection in made.values():
        projection.start()
    await eventually(lambda: {stream: one.position for stream, one in made.items()} == wanted, timeout=20)
    for projection in made.values():
        await projection.stop()
        assert (projection.halted, projection.waiting) == (None, None)
    async with pool.connection() as conn:
        return [row[0] for row in await (await conn.execute(_ENTRIES)).fetchall()]


@pytest.fixture
def other_database(migrated_template: Database) -> Iterator[Database]:
    """That of an audit that is away."""
    copy = servers.copy_of(migrated_template)
    yield copy
    servers.drop(copy)


@pytest.fixture
async def anybody(bus: Bus) -> AsyncIterator[Connection]:
    """May do everything."""
    async with bus.connected("test") as nc:
        yield nc


@pytest.mark.parametrize("seen", [0, 1])
async def test_entries_are_those_of_an_audit_that_was_never_away(
    bus: Bus, database: Database, other_database: Database, reader: Connection, anybody: Connection, seen: int
) -> None:
    jobs, logins = lifecycles(JOBS), [replace(login(n), version=n) for n in range(1, LOGINS + 1)]
    async with owner(bus, database, EVT_JOBS) as jobs_relay, owner(bus, database, EVT_ADMIN) as admin_relay:
        everything = {EVT_JOBS: len(jobs), EVT_ADMIN: LOGINS}
        async with audit(other_database) as away, audit(database) as always:
            if seen:
                await record(database, "jobs", jobs[:20])
                await record(database, "gateway", logins[:2])
                await jobs_relay.run_once()
                await admin_relay.run_once()
                await folded(away, reader, {EVT_JOBS: 20, EVT_ADMIN: 2})
            await record(database, "jobs", jobs[20 * seen :])
            await record(database, "gateway", logins[2 * seen :])
            await jobs_relay.run_once()
            await admin_relay.run_once()
            expected = await folded(always, reader, everything)
            await keep(anybody, EVT_JOBS, 5)
            await remake(anybody, EVT_ADMIN, LOGINS + 1)
            assert await folded(away, reader, everything) == expected
    assert len(expected) == len(jobs) + LOGINS
