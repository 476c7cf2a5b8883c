"""The one way to change jobs.

Every writer hands its wishes to `Ledger.write`, which locks, decides, appends and updates in one order.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import UniqueViolation
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database
from jobplane.chassis.journal import Journal, LockOrder, Transaction
from jobplane.chassis.refusals import Tally
from jobplane.contracts.commands import CreateJob, RetryJob
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.jobs import outcomes, rows
from jobplane.jobs.batch import Batch, refusal, refusal_events
from jobplane.jobs.rows import Held
from jobplane.jobs.wishes import Settled, Wish

log = structlog.get_logger()

_TRIES: Final = 5
_KEY_LOCKS: Final = """
SELECT pg_advisory_xact_lock(h) FROM (
    SELECT DISTINCT hashtextextended(k.kind || chr(31) || k.key, 0) AS h FROM (
        SELECT * FROM unnest(%s::text[], %s::text[]) AS wanted (kind, key)
        UNION SELECT kind, unique_key FROM job WHERE id = ANY(%s::uuid[]) AND unique_key IS NOT NULL
    ) AS k ORDER BY 1
) AS ordered
"""
_HOLDERS: Final = """
SELECT job.kind, job.unique_key, job.id FROM job JOIN (
    SELECT * FROM unnest(%s::text[], %s::text[]) AS wanted (kind, key)
    UNION SELECT kind, unique_key FROM job WHERE id = ANY(%s::uuid[]) AND unique_key IS NOT NULL
) AS k ON job.kind = k.kind AND job.unique_key = k.key WHERE job.status IN ('PENDING', 'RUNNING')
"""
_BY_ID: Final = f"SELECT {rows.LOCKED_COLUMNS} FROM job WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"  # noqa: S608 - constants


class LockById:
    """Lock the jobs of some ids."""

    def __init__(self, ids: Iterable[JobId]) -> None:
        self._ids = sorted(set(ids))

    async def __call__(self, conn: AsyncConnection[Any]) -> AsyncCursor[Any]:
        """Queue the statement."""
        return await conn.execute(_BY_ID, (self._ids,))


LockRows = Callable[[AsyncConnection[Any]], Awaitable[AsyncCursor[Any]]]
Plan = Callable[[Sequence[Held], datetime], Sequence[Wish]]


class Ledger:
    """Writes jobs. `after_commit` hears of everything that was settled, e.g. to wake workers."""

    def __init__(self, journal: Journal, after_commit: Callable[[Sequence[Settled]], None] = lambda _: None) -> None:
        self._journal = journal
        self._after_commit = after_commit
        self.refusals: Tally[tuple[str, str], Wish] = Tally()

    @property
    def pool(self) -> AsyncConnectionPool:
        """The database, to look before writing."""
        return self._journal.pool

    async def settle(self, wishes: Sequence[Wish]) -> list[Settled]:
        """Decide wishes about jobs known by id, in order; one answer each, refusals included."""
        return await self.write(LockById(wish.command.job_id for wish in wishes), lambda _held, _now: wishes, wishes)

    async def write(self, lock: LockRows, plan: Plan, known: Sequence[Wish] = ()) -> list[Settled]:
        """Lock rows, let `plan` make wishes of them, and carry these out, all in one transaction.

        `known` are the wishes that are known before the rows are (their command ids and unique keys are locked first).
        A deadlock, or another writer that was faster with the same job, repeats the whole.

        Raises:
            Unavailable: the journal is halted.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                settled = await self._write(lock, plan, known)
            except Exception as error:
                if attempt == _TRIES or not _worth_repeating(error):
                    raise
                log.info("ledger.repeated", error=type(error).__name__, attempt=attempt)
                continue
            self._after_commit(settled)
            return settled
        raise AssertionError

    async def _write(self, lock: LockRows, plan: Plan, known: Sequence[Wish]) -> list[Settled]:
        with self.refusals.attempt() as count_refusal:
            async with self._journal.transaction() as tx:
                claims = await outcomes.claim(tx, [wish.delivered for wish in known if wish.delivered])
                holders = await _lock_unique_keys(tx, known)
                tx.locking(LockOrder.ROWS)
                locked = await lock(tx.conn)
                clock = await tx.conn.execute("SELECT clock_timestamp()")
                held = [rows.held(row) for row in await locked.fetchall()]
                now = await _one(clock)
                batch = Batch(
                    now=now,
                    stored=await claims.stored() if claims else {},
                    holders={(kind, key): holder for kind, key, holder in await holders.fetchall()} if holders else {},
                    jobs={item.job.id: item for item in held},
                )
                for wish in plan(held, now):
                    batch.settle(wish)
                events = batch.events + refusal_events(batch, count_refusal)
                first = await tx.append(events)
                await batch.write(tx, first)
        return batch.settled

    async def sum_up_refusals(self, now: datetime, *, closing: bool = False) -> int:
        """Record one event for each actor and code whose refusals were too many to record singly.

        Gives how many events.
        """
        due = self.refusals.rest() if closing else self.refusals.due(now)
        if due:
            events = [refusal(wish, key[1], at=now, count=count) for key, wish, count in due]
            try:
                async with self._journal.transaction() as tx:
                    await tx.append(events)
            except BaseException:
                self.refusals.put_back(due, now)
                raise
        return len(due)


def _worth_repeating(error: Exception) -> bool:
    """Whether the next try may succeed: it sees what the writer wrote that was faster."""
    return isinstance(error, UniqueViolation) or (database.transient(error) and not database.is_away(error))


async def _lock_unique_keys(tx: Transaction, wishes: Sequence[Wish]) -> AsyncCursor[Any] | None:
    """Serialise everybody who may take one of these unique keys; the cursor brings who holds them.

    Whoever gives one up needs no lock: a taker sees the key as taken or free, both are true at some instant.
    """
    created = [c for c in (wish.command for wish in wishes) if isinstance(c, CreateJob) and c.unique_key is not None]
    retried = [wish.command.job_id for wish in wishes if isinstance(wish.command, RetryJob)]
    if not created and not retried:
        return None
    parameters = ([c.kind for c in created], [c.unique_key for c in created], retried)
    tx.locking(LockOrder.UNIQUE_KEYS)
    await tx.conn.execute(_KEY_LOCKS, parameters)
    return await tx.conn.execute(_HOLDERS, parameters)


async def _one(cursor: AsyncCursor[Any]) -> Any:  # noqa: ANN401 - whatever the column holds
    row = await cursor.fetchone()
    if row is None:
        msg = "the database answered nothing"
        raise Unavailable(msg)
    return row[0]
