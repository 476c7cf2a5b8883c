"""A store on a shelf: what the checks of every store may ask of it beside the store's own protocol."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.commands import AnyJobCommand, CreateJob
from jobplane.contracts.ids import JobId
from jobplane.jobs.batch import Batch
from jobplane.jobs.decider import AnyCommand
from jobplane.jobs.job import Job
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.queue import Control, Target
from jobplane.jobs.rows import Held
from jobplane.jobs.store import ById, Changes, Claimable, Due, Known, Overdue, Store, Writing
from jobplane.jobs.wishes import Settled, Wish
from tests.integration.jobs.driving import KIND
from tests.integration.jobs.wishing import by_worker, command, create

NOTHING = Known()
Result = TypeVar("Result")


@dataclass(frozen=True)
class Shelf:
    """A store, and what only a test may ask of it."""

    store: Store
    pool: AsyncConnectionPool
    """For the few statements that go past the store."""
    move: Callable[[JobId, str, timedelta], Awaitable[None]]
    """Move an instant in a job's row: its id, the column, by how much."""
    halt: Callable[[str | None], Awaitable[None]]
    """Halt writes, or allow them again."""
    counts: Callable[[], Awaitable[dict[tuple[str, str], int]]]
    """The counters that are not zero."""
    positions: Callable[[], Awaitable[list[int]]]
    """Of all events, in their order."""
    status: Callable[[JobId], Awaitable[str]]
    """What the row says."""
    control: Callable[[Control], Awaitable[None]]
    """Control a queue or a kind."""
    pass_time: Callable[[Target, timedelta], Awaitable[None]]
    """Let time pass for the rate of a queue or a kind."""

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store)


async def soon(work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    """Begin something that should have to wait, and let it come as far as it can."""
    task = asyncio.get_running_loop().create_task(work)
    await asyncio.wait({task}, timeout=0.2)
    return task


async def decide(tx: Writing, selection: ById, wanted: Wish) -> Changes:
    """Read and decide, as the ledger does, without writing yet."""
    ids = [wanted.delivered.command_id] if wanted.delivered else []
    created = wanted.command if isinstance(wanted.command, CreateJob) else None
    keys = [(created.kind, created.unique_key)] if created and created.unique_key else []
    found = await tx.read(selection, Known(command_ids=ids, unique_keys=keys))
    batch = Batch(found.now, found.stored, dict(found.holders), {item.job.id: item for item in found.held})
    batch.settle(wanted)
    return batch.changes(batch.events)


@asynccontextmanager
async def holding(store: Store, *ids: JobId) -> AsyncIterator[Sequence[Held]]:
    """These jobs locked by somebody else."""
    async with store.transaction() as tx:
        yield (await tx.read(ById(ids), NOTHING)).held


async def claimed(store: Store, queue: str = "default", limit: int = 10, kinds: Sequence[str] = (KIND,)) -> list[JobId]:
    """What a claim would get now."""
    async with store.transaction() as tx:
        return [item.job.id for item in (await tx.read(Claimable(queue, kinds, limit), NOTHING)).held]


async def overdue(store: Store, due: Due) -> list[JobId]:
    """What the rescuer would get now."""
    async with store.transaction() as tx:
        return [item.job.id for item in (await tx.read(Overdue(due, 10), NOTHING)).held]


async def settle(shelf: Shelf, *wanted: AnyJobCommand | AnyCommand) -> list[Settled]:
    """Settle in one transaction, as commands where they are some."""
    return await shelf.ledger.settle([_wish(one) for one in wanted])


def _wish(wanted: AnyJobCommand | AnyCommand) -> Wish:
    return command(wanted) if isinstance(wanted, AnyJobCommand) else by_worker(wanted)


async def create_at(shelf: Shelf, run_at: datetime, **more: Any) -> Job:
    """A job that waits for its time."""
    return await create(shelf.ledger, run_at=run_at, **more)
