"""Prepared statements that PostgreSQL no longer knows, or no longer runs, are prepared anew."""

import asyncio
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from psycopg import AsyncConnection, errors
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database as databases
from jobplane.chassis.exchange import StaleStatement, exchange, rollback
from tests.support.servers import Database

ADD = ("INSERT INTO thing VALUES (%s::integer)", (1,))
ALL = ("SELECT * FROM thing", ())
BEGIN, COMMIT = ("BEGIN", ()), ("COMMIT", ())

Owner = Callable[[str], None]


@pytest.fixture
def owner(blank_database: Database) -> Owner:
    def run(statement: str) -> None:
        with psycopg.connect(blank_database.owner_url, autocommit=True) as conn:
            conn.execute(statement)

    run("CREATE TABLE audit.thing (n integer)")
    return run


@pytest.fixture
async def pool(blank_database: Database, owner: Owner) -> AsyncIterator[AsyncConnectionPool]:
    del owner  # its table is there
    pool = await databases.open_pool(blank_database.url("audit"), schema="audit", service="audit", max_size=1)
    yield pool
    await pool.close()


@pytest.fixture
async def conn(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    async with pool.connection() as lent:
        yield lent


async def test_a_table_that_got_another_shape_is_read_with_its_new_one(conn: AsyncConnection, owner: Owner) -> None:
    await exchange(conn, BEGIN, ADD, ALL, COMMIT)
    await asyncio.to_thread(owner, "ALTER TABLE audit.thing ADD COLUMN name text DEFAULT 'x'")
    assert await exchange(conn, BEGIN, ADD, ALL, COMMIT) == [[], [], [(1, "x"), (1, "x")], []]
    assert await exchange(conn, ALL) == [[(1, "x"), (1, "x")]]


@pytest.mark.parametrize("forget", ["DEALLOCATE ALL", "DISCARD ALL"])
async def test_a_session_that_forgot_its_statements_is_told_them_again(conn: AsyncConnection, forget: str) -> None:
    await exchange(conn, BEGIN, ADD, COMMIT)
    await exchange(conn, (forget, ()))
    assert await exchange(conn, BEGIN, ADD, ("SELECT n FROM audit.thing", ()), COMMIT) == [[], [], [(1,), (1,)], []]
    assert conn.info.transaction_status == TransactionStatus.IDLE


async def test_what_ran_before_the_stale_statement_counts_once(conn: AsyncConnection, owner: Owner) -> None:
    await exchange(conn, ADD, ALL)
    await asyncio.to_thread(owner, "ALTER TABLE audit.thing ADD COLUMN name text")
    assert await exchange(conn, ADD, ALL, COMMIT) == [[], [(1, None), (1, None)], []]
    assert await exchange(conn, ALL) == [[(1, None), (1, None)]]


async def test_in_the_middle_of_a_transaction_the_whole_is_to_be_repeated(conn: AsyncConnection) -> None:
    await exchange(conn, ADD, COMMIT)
    await exchange(conn, BEGIN, ALL)
    await exchange(conn, ("DEALLOCATE ALL", ()))
    with pytest.raises(StaleStatement) as told:
        await exchange(conn, ADD, COMMIT)
    assert (databases.transient(told.value), databases.is_away(told.value)) == (True, False)
    await rollback(conn)
    await exchange(conn, BEGIN, ALL)
    await exchange(conn, ADD, COMMIT)
    assert await exchange(conn, ALL) == [[(1,), (1,)]]


async def test_what_postgres_does_not_support_is_said_as_it_is(conn: AsyncConnection) -> None:
    await exchange(conn, ALL)
    unsupported = "SELECT count(*) FROM thing FOR UPDATE"
    for _ in range(2):
        with pytest.raises(errors.FeatureNotSupported, match="FOR UPDATE is not allowed with aggregate functions"):
            await exchange(conn, BEGIN, (unsupported, ()))
        await rollback(conn)
