"""The store in memory is held to the same checks as the one in PostgreSQL (tests/integration/jobs/test_store.py)."""

import asyncio
from dataclasses import fields, replace
from datetime import timedelta
from random import Random
from typing import Any, Final, cast

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.ids import JobId
from jobplane.jobs import allowance
from jobplane.jobs.job import Job
from jobplane.jobs.queue import Control, Target
from tests.simulation.control_checks import ControlChecks
from tests.simulation.faults import Faults
from tests.simulation.memory_database import MemoryDatabase
from tests.simulation.memory_pool import MemoryPool
from tests.simulation.memory_store import MemoryStore
from tests.simulation.presumption_checks import PresumptionChecks
from tests.simulation.shelf import Shelf
from tests.simulation.statement_checks import StatementChecks
from tests.simulation.store_checks import StoreChecks

_OF_THE_JOB: Final = frozenset(field.name for field in fields(Job))


class NoFaults(Faults):
    """Every way is short, on whatever loop."""

    async def way(self) -> None:
        await asyncio.sleep(0)

    async def on_the_server(self) -> None:
        await asyncio.sleep(0)


@pytest.fixture
async def shelf() -> Shelf:
    database = MemoryDatabase(NoFaults(Random(1)))
    database.served_since -= timedelta(days=1)
    database.served_until += timedelta(days=1)

    async def move(job_id: JobId, column: str, by: timedelta) -> None:
        row = database.rows[job_id]
        if column in _OF_THE_JOB:
            moved: Any = getattr(row.job, column) + by
            database.change(job_id, job=replace(row.job, **{column: moved}))
        else:
            database.change(job_id, **{column: getattr(row, column) + by})

    async def halt(reason: str | None) -> None:
        database.halted = reason

    async def counts() -> dict[tuple[str, str], int]:
        return {(queue, str(status)): n for (queue, status), n in database.counts.items() if n}

    async def positions() -> list[int]:
        return [position for position, _ in database.events]

    async def status(job_id: JobId) -> str:
        return str(database.rows[job_id].job.status)

    async def control(wanted: Control) -> None:
        database.controls[wanted.target.key] = allowance.Held(wanted)

    async def pass_time(target: Target, by: timedelta) -> None:
        held = database.controls[target.key]
        assert held.paid_until is not None
        database.controls[target.key] = replace(held, paid_until=held.paid_until - by)

    pool = cast("AsyncConnectionPool", MemoryPool(database))
    return Shelf(MemoryStore(database), pool, move, halt, counts, positions, status, control, pass_time)


class TestMemoryStore(ControlChecks, StoreChecks, PresumptionChecks, StatementChecks):
    """In memory."""


async def test_locks_are_not_left_behind() -> None:
    database = MemoryDatabase(NoFaults(Random(1)))
    session = database.begin()
    await database.locks.take(session, "one")
    waiting = asyncio.ensure_future(database.locks.take(other := database.begin(), "one"))
    await asyncio.sleep(0)
    database.end(other)
    database.end(session)
    assert len(database.locks) == 0
    assert not waiting.done()
    waiting.cancel()
    assert not database.sessions
