import asyncio
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from jobplane.chassis import database as chassis_database
from jobplane.chassis.ids import new_id
from jobplane.contracts.errors import Unavailable
from jobplane.local import ports
from tests.support.servers import Database, PrivateDatabase
from tests.support.waiting import eventually

# A pool whose server went away says so from its own tasks; psycopg logs it, nothing is lost.


async def open_pool(url: str, **options: Any) -> AsyncConnectionPool:
    return await chassis_database.open_pool(url, schema="audit", service="audit", **options)


@pytest.fixture
async def pool(blank_database: Database) -> AsyncIterator[AsyncConnectionPool]:
    with psycopg.connect(blank_database.owner_url, autocommit=True) as owner:
        owner.execute("CREATE TABLE audit.thing (id uuid PRIMARY KEY, at timestamptz DEFAULT now())")
    pool = await open_pool(blank_database.url("audit"), max_size=3)
    yield pool
    await pool.close()


async def one(pool: AsyncConnectionPool, query: str, *values: object) -> tuple[Any, ...]:
    async with pool.connection() as conn:
        row = await (await conn.execute(query, values)).fetchone()
    assert row is not None
    return tuple(row)


async def test_the_pool_sees_its_own_schema_and_no_other(pool: AsyncConnectionPool) -> None:
    assert await one(pool, "SELECT current_schema(), current_setting('search_path')") == ("audit", "audit")
    with pytest.raises(errors.InsufficientPrivilege):
        await one(pool, "SELECT * FROM jobs.anything")


async def test_uuids_are_text_and_instants_are_utc(pool: AsyncConnectionPool) -> None:
    made = new_id()
    await one(pool, "INSERT INTO thing (id) VALUES (%s) RETURNING id", made)
    found, at = await one(pool, "SELECT id, at FROM thing WHERE id = ANY(%s::uuid[])", [made])
    assert found == made
    assert at.tzinfo is not None
    assert at.utcoffset() == UTC.utcoffset(None)
    async with pool.connection() as conn:
        row = await (await conn.execute("SELECT id FROM thing", binary=True)).fetchone()
    assert row == (made,)
    assert await one(pool, "SELECT array_agg(id) FROM thing") == ([made],)


async def test_connections_commit_by_themselves_and_are_limited_by_the_server(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as conn:
        assert conn.autocommit
        assert conn.info.parameter_status("application_name") == "audit"
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    assert [(await one(pool, f"SHOW {name}"))[0] for name in names] == ["30s", "10s", "30s"]


async def test_an_unreachable_database_is_unavailable_with_a_reason_without_secrets() -> None:
    url = f"postgresql://audit:hidden@127.0.0.1:{ports.free_port()}/jobplane"
    with pytest.raises(Unavailable, match="the database cannot be used: ") as away:
        await open_pool(url, timeout_s=0.2)
    assert "refused" in str(away.value)
    assert "hidden" not in str(away.value)
    assert away.value.code == "database_unavailable"


async def test_a_wrong_password_is_told(blank_database: Database) -> None:
    url = blank_database.url("audit").replace("jobplane_audit:", "jobplane_audit:wrong")
    with pytest.raises(Unavailable, match="password authentication failed"):
        await open_pool(url, timeout_s=0.3)


async def test_the_pool_tells_what_it_does(pool: AsyncConnectionPool) -> None:
    async with pool.connection():
        figures = chassis_database.pool_figures(pool)
    assert (figures.max, figures.in_use, figures.waiting) == (3, 1, 0)
    assert figures.size >= 1


async def test_only_one_holds_a_lock(pool: AsyncConnectionPool) -> None:
    async with chassis_database.advisory_lock(pool, "a") as first:
        assert first
        async with chassis_database.advisory_lock(pool, "a") as second, pool.connection():
            assert not second
        async with chassis_database.advisory_lock(pool, "b") as other:
            assert other
    async with chassis_database.advisory_lock(pool, "a") as again:
        assert again


async def test_a_lock_is_given_back_by_whoever_fails(pool: AsyncConnectionPool) -> None:
    with pytest.raises(KeyError):
        async with chassis_database.advisory_lock(pool, "a"):
            raise KeyError
    async with chassis_database.advisory_lock(pool, "a") as again:
        assert again


async def test_a_deadlock_is_transient(pool: AsyncConnectionPool) -> None:
    one_id, other_id = new_id(), new_id()
    await one(pool, "INSERT INTO thing (id) VALUES (%s), (%s) RETURNING id", one_id, other_id)
    met = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with pool.connection() as conn, conn.transaction():
            await conn.execute("UPDATE thing SET at = now() WHERE id = %s", (first,))
            await met.wait()
            await conn.execute("UPDATE thing SET at = now() WHERE id = %s", (second,))

    results = await asyncio.gather(lock(one_id, other_id), lock(other_id, one_id), return_exceptions=True)
    failures = [result for result in results if result is not None]
    assert [type(failure) for failure in failures] == [errors.DeadlockDetected]
    assert chassis_database.transient(failures[0])
    assert not chassis_database.is_away(failures[0])


@pytest.mark.parametrize(
    ("error", "transient", "away"),
    [
        (errors.SerializationFailure(), True, False),
        (errors.LockNotAvailable(), True, False),
        (errors.AdminShutdown(), True, True),
        (errors.DiskFull(), True, True),
        (errors.TooManyConnections(), True, True),
        (psycopg.OperationalError("connection lost"), True, True),
        (psycopg.InterfaceError("the connection is closed"), True, True),
        (PoolTimeout(), True, True),
        (errors.QueryCanceled(), False, False),
        (errors.UniqueViolation(), False, False),
        (psycopg.ProgrammingError("a bug"), False, False),
        (ValueError(), False, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_a_failure_means(error: Exception, transient: bool, away: bool) -> None:
    assert chassis_database.transient(error) is transient
    assert chassis_database.is_away(error) is away


async def test_a_restart_of_the_server_is_survived(private_database: PrivateDatabase) -> None:
    pool = await open_pool(private_database.url("audit"))
    assert await one(pool, "SELECT 1") == (1,)
    await asyncio.to_thread(private_database.kill)
    with pytest.raises(psycopg.OperationalError) as away:
        await one(pool, "SELECT 1")
    assert chassis_database.is_away(away.value)
    await asyncio.to_thread(private_database.start)

    async def back() -> bool:
        try:
            return await one(pool, "SELECT 1") == (1,)
        except psycopg.OperationalError:
            return False

    await eventually(back, timeout=15)
    await pool.close()


async def test_a_server_that_falls_silent_is_given_up(
    pool: AsyncConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chassis_database, "_SILENT_S", 0.2)
    with pytest.raises(errors.OperationalError, match="does not answer") as silent:
        await one(pool, "SELECT pg_sleep(20)")
    assert chassis_database.is_away(silent.value)
    monkeypatch.undo()
    assert await one(pool, "SELECT 1") == (1,)
