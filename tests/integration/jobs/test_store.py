"""The store in PostgreSQL is held to the same checks as the one in memory (tests/simulation/test_memory_store.py)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database as databases
from jobplane.chassis.journal import Journal
from jobplane.contracts.commands import ForceRunJob
from jobplane.contracts.ids import JobId
from jobplane.jobs import postgres_store
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.queue import Control, Target
from jobplane.jobs.store import Due
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.integration.jobs.wishing import create, start
from tests.simulation.control_checks import ControlChecks
from tests.simulation.presumption_checks import PresumptionChecks
from tests.simulation.shelf import Shelf, claimed, overdue, settle
from tests.simulation.statement_checks import StatementChecks
from tests.simulation.store_checks import StoreChecks
from tests.support import servers
from tests.support.servers import Database


@pytest.fixture
def database(migrated_template: Database) -> Iterator[Database]:
    copy = servers.copy_of(migrated_template)
    change(copy.owner_url, "UPDATE beat_service SET since = now() - interval '1 day', served_until = 'infinity'")
    yield copy
    servers.drop(copy)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    opened = await databases.open_pool(database.url("jobs"), schema="jobs", service="jobs", min_size=2)
    yield opened
    await opened.close()


@pytest.fixture
def shelf(database: Database, pool: AsyncConnectionPool) -> Shelf:
    async def ask(query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(rows_of, database.owner_url, query, parameters)

    async def move(job_id: JobId, column: str, by: timedelta) -> None:
        statement = f"UPDATE job SET {column} = {column} + %s WHERE id = %s"
        assert await asyncio.to_thread(change, database.owner_url, statement, (by, job_id)) == 1

    async def halt(reason: str | None) -> None:
        await asyncio.to_thread(change, database.owner_url, "UPDATE journal_head SET halted = %s", (reason,))

    async def counts() -> dict[tuple[str, str], int]:
        return {(queue, status): n for queue, status, n in await ask("SELECT queue, status, n FROM job_count") if n}

    async def positions() -> list[int]:
        return [row[0] for row in await ask("SELECT pos FROM event ORDER BY pos")]

    async def status(job_id: JobId) -> str:
        return str((await ask("SELECT status FROM job WHERE id = %s", job_id))[0][0])

    async def control(wanted: Control) -> None:
        target = wanted.target
        deeds = [deed and deed.model_dump_json() for deed in (wanted.paused, wanted.limits)]
        statement = (
            "INSERT INTO queue_control (key, sort, name, version, paused, limits) VALUES (%s, %s, %s, %s, %s, %s)"
        )
        told = (target.key, target.sort, target.name, wanted.version, *deeds)
        await asyncio.to_thread(change, database.owner_url, statement, told)

    async def pass_time(target: Target, by: timedelta) -> None:
        statement = "UPDATE queue_control SET paid_until = paid_until - %s WHERE key = %s"
        assert await asyncio.to_thread(change, database.owner_url, statement, (by, target.key)) == 1

    return Shelf(PostgresStore(Journal(pool)), pool, move, halt, counts, positions, status, control, pass_time)


class TestPostgresStore(ControlChecks, StoreChecks, PresumptionChecks, StatementChecks):
    """In PostgreSQL."""


async def test_the_checks_leave_a_consistent_journal(shelf: Shelf, database: Database) -> None:
    await StoreChecks().test_a_key_changes_hands_within_one_transaction(shelf)
    assert_consistent(database.owner_url)


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
async def test_jobs_come_in_order_whatever_the_plan_is(
    shelf: Shelf, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement around the claim promises nothing: a plan that turns the rows around changes nothing."""
    turned = f"{vars(postgres_store)['_READ']} ORDER BY locked.id {direction}"
    monkeypatch.setattr(postgres_store, "_READ", turned)
    low, early, late, high, forced = [(await create(shelf.ledger, priority=p)).id for p in (-1, 0, 0, 5, -5)]
    await shelf.move(early, "run_at", -timedelta(hours=1))
    await settle(shelf, ForceRunJob(job_id=forced))
    assert await claimed(shelf.store) == [forced, high, early, late, low]
    for job_id in (high, low):
        await start(shelf.ledger, job_id)
        await shelf.move(job_id, "lease_until", -timedelta(hours=1))
    assert await overdue(shelf.store, Due.EXPIRED) == [low, high]
