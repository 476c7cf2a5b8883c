"""The journal in PostgreSQL: the conformance suite, crashes at any moment, and who may do what."""

import asyncio
from collections.abc import Sequence
from enum import Enum, auto

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import InsufficientPrivilege
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.journal import Journal, Transaction
from jobplane.chassis.new_events import NewEvent
from tests.integration.chassis.journal_checks import JournalChecks
from tests.integration.chassis.writing import append, assert_gapless, event, everything
from tests.support.servers import Database


class TestJournalInPostgres(JournalChecks):
    """See `JournalChecks`."""


class Crash(Enum):
    """How a transaction ends before its time, if it does."""

    NONE = auto()
    RAISE_BEFORE = auto()
    RAISE_AFTER = auto()
    KILL_BEFORE = auto()
    KILL_AFTER = auto()
    CANCEL_BEFORE = auto()
    CANCEL_AFTER = auto()
    DUPLICATE = auto()


BEFORE = {Crash.RAISE_BEFORE, Crash.KILL_BEFORE, Crash.CANCEL_BEFORE}
AFTER = {Crash.RAISE_AFTER, Crash.KILL_AFTER, Crash.CANCEL_AFTER}


async def die(tx: Transaction, crash: Crash) -> None:
    match crash:
        case Crash.RAISE_BEFORE | Crash.RAISE_AFTER:
            raise ValueError("a bug")
        case Crash.KILL_BEFORE | Crash.KILL_AFTER:
            await (await tx.conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")).fetchone()
        case _:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.get_running_loop().create_future()


async def write(journal: Journal, events: Sequence[NewEvent], crash: Crash, taken: str) -> list[str]:
    """One transaction; gives the ids of what it committed."""
    async with journal.transaction() as tx:
        if crash in BEFORE:
            await die(tx, crash)
        await tx.append([*events, event(taken)] if crash is Crash.DUPLICATE else events)
        if crash in AFTER:
            await die(tx, crash)
    return [one.id for one in events]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(Crash)), min_size=1, max_size=6))
async def test_positions_are_gapless_whatever_happens_to_the_transactions(
    journal: Journal, plan: list[tuple[int, Crash]]
) -> None:
    before = [one.id for one in await everything(journal)]
    taken = event()
    await append(journal, taken)
    writers = [
        asyncio.create_task(write(journal, [event() for _ in range(count)], crash, taken.stream_id))
        for count, crash in plan
    ]
    ends = await asyncio.gather(*writers, return_exceptions=True)
    assert [isinstance(end, list) for end in ends] == [crash is Crash.NONE for _, crash in plan]
    committed = [one for end in ends if isinstance(end, list) for one in end]
    await assert_gapless(journal, [*before, taken.id, *committed])


async def test_a_writer_that_waits_for_the_head_may_be_cancelled(journal: Journal) -> None:
    async with journal.transaction() as tx:
        await tx.append([event()])
        waiting = asyncio.create_task(append(journal, event()))
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
    assert await append(journal, event()) == 2
    await assert_gapless(journal)


async def test_nobody_waits_for_a_writer_that_was_killed(journal: Journal, database: Database) -> None:
    async def killed() -> None:
        async with journal.transaction() as tx:
            await tx.append([event()])
            row = await (await tx.conn.execute("SELECT pg_backend_pid()")).fetchone()
            with psycopg.connect(database.admin_url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", row)

    with pytest.raises(psycopg.OperationalError):
        await killed()
    assert await append(journal, event()) == 1
    await assert_gapless(journal)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE event SET type = 'x'",
        "DELETE FROM event",
        "TRUNCATE event",
        "ALTER TABLE event ADD COLUMN x text",
        "DROP TABLE event",
        "DELETE FROM journal_head",
        "INSERT INTO journal_head DEFAULT VALUES",
        "CREATE TABLE mine (x text)",
        "ALTER TABLE event DISABLE TRIGGER ALL",
    ],
)
async def test_the_service_cannot_rewrite_history(pool: AsyncConnectionPool, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        async with pool.connection() as conn:
            await conn.execute(statement)


@pytest.mark.parametrize("service", ["audit", "health", "gateway"])
async def test_no_other_service_sees_the_journal(database: Database, service: str) -> None:
    with psycopg.connect(database.url(service)) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT count(*) FROM jobs.event")


async def test_a_new_epoch_begins_where_no_client_was_told_of_anything(journal: Journal) -> None:
    """Of the last positions that were given, neither the restored journal nor the bus needs to know."""
    await append(journal, event())
    opened = await journal.open_epoch(stream_end=250)
    assert (opened.epoch, opened.first, opened.position, opened.halted) == (2, 200_000, 199_999, None)
    assert await append(journal, event()) == 200_000
    again = await journal.open_epoch(stream_end=100_000)
    assert (again.epoch, again.first) == (3, 400_000), "the journal is ahead of the stream"
    assert (await journal.open_epoch(stream_end=400_001)).first == 600_000
