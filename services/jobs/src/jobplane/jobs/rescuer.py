"""The rescuer: ends runs whose lease or time is over, and settles cancels that nobody confirmed.

Only the database's clock counts.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection, AsyncCursor
from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.actors import system
from jobplane.contracts.job_events import ErrorFact
from jobplane.contracts.workers import DEFAULT_LEASE_MS
from jobplane.jobs import bodies, rows
from jobplane.jobs.decider import AnyCommand, ExpireLease, SettleStop, TimeoutJob
from jobplane.jobs.fingerprint import fingerprint
from jobplane.jobs.ledger import Ledger, LockRows, Plan
from jobplane.jobs.rows import Held
from jobplane.jobs.wishes import Cause, Wish

EVERY_S: Final = 1.0
_AT_ONCE: Final = 500
_ACTOR: Final = system("rescuer")

# `beat_service.since` moves when no replica could serve beats for a third of a lease: workers then get a whole
# lease to be heard again.
_WORKERS_WERE_HEARD: Final = f"""(
    SELECT served_until > clock_timestamp()
        AND since + coalesce(job.lease_ms, {DEFAULT_LEASE_MS}) * interval '1 ms' < clock_timestamp()
    FROM beat_service
)"""  # noqa: S608 - constants
_EXPIRED: Final = f"status = 'RUNNING' AND lease_until < clock_timestamp() AND {_WORKERS_WERE_HEARD}"
_OVERDUE: Final = f"""
status = 'RUNNING' AND timeout_ms IS NOT NULL AND started_at + timeout_ms * interval '1 ms' < clock_timestamp()
    AND {_WORKERS_WERE_HEARD}
"""
_UNSETTLED: Final = f"""
stop = 'pending' AND {_WORKERS_WERE_HEARD} AND clock_timestamp()
    > greatest(lease_until, finished_at + coalesce(lease_ms, {DEFAULT_LEASE_MS}) * interval '1 ms')
"""
# One cheap look a second instead of three transactions: there is seldom anything to do.
_LOOK: Final = f"""
SELECT EXISTS (SELECT 1 FROM job WHERE {_EXPIRED}), EXISTS (SELECT 1 FROM job WHERE {_OVERDUE}),
    EXISTS (SELECT 1 FROM job WHERE {_UNSETTLED})
"""  # noqa: S608 - constants
_SERVED: Final = """
UPDATE beat_service SET served_until = clock_timestamp() + %s,
    since = CASE WHEN served_until < clock_timestamp() THEN clock_timestamp() ELSE since END
"""


class Rescuer:
    """Looks for runs that nobody will end."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def run_once(self) -> int:
        """Settle all that is overdue now; gives how many jobs changed."""
        async with self._ledger.pool.connection() as conn:
            found = await (await conn.execute(_LOOK)).fetchone()
        tasks = ((_EXPIRED, _expire), (_OVERDUE, _time_out), (_UNSETTLED, _settle_stop))
        return sum([await self._all(*task) for task, due in zip(tasks, found or (), strict=True) if due])

    async def _all(self, condition: str, wish: Callable[[Held, datetime], Wish]) -> int:
        changed = 0
        while True:
            settled = await self._ledger.write(_lock(condition), _plan(wish))
            changed += sum(item.event is not None for item in settled)
            if len(settled) < _AT_ONCE:
                return changed


class BeatService:
    """Notes, every sixth of a lease, that beats can be served for the next third; `answers` asks the bus."""

    def __init__(
        self,
        pool: AsyncConnectionPool,
        answers: Callable[[], Awaitable[bool]],
        *,
        lease_ms: int = DEFAULT_LEASE_MS,
    ) -> None:
        self._pool = pool
        self._answers = answers
        self._pause = timedelta(milliseconds=lease_ms / 3)
        self.every_s = lease_ms / 6000

    async def run_once(self) -> None:
        """Note it, unless the bus is away."""
        if not await self._answers():
            return
        async with self._pool.connection() as conn:
            await conn.execute(_SERVED, (self._pause,))


def _lock(condition: str) -> LockRows:
    query = f"""
        SELECT {rows.LOCKED_COLUMNS} FROM job WHERE {condition}
        ORDER BY id LIMIT {_AT_ONCE} FOR UPDATE SKIP LOCKED
    """  # noqa: S608 - constants

    async def lock(conn: AsyncConnection[Any]) -> AsyncCursor[Any]:
        return await conn.execute(query)

    return lock


def _plan(wish: Callable[[Held, datetime], Wish]) -> Plan:
    def plan(found: Sequence[Held], now: datetime) -> list[Wish]:
        return [wish(item, now) for item in found]

    return plan


def _wish(command: AnyCommand) -> Wish:
    return Wish(command, Cause(_ACTOR))


def _expire(held: Held, now: datetime) -> Wish:
    lost = f"Worker {held.job.worker} was not heard of for a whole lease, three times in a row."
    return _with_error(ExpireLease(held.job.id, held.lease_until or now), held, "orphaned", lost)


def _time_out(held: Held, _now: datetime) -> Wish:
    late = f"The run took longer than its {(held.job.timeout_ms or 0) / 1000:g} seconds."
    return _with_error(TimeoutJob(held.job.id), held, "timeout", late)


def _settle_stop(held: Held, _now: datetime) -> Wish:
    return _wish(SettleStop(held.job.id))


def _with_error(command: AnyCommand, held: Held, error_type: str, message: str) -> Wish:
    wish = _wish(command)
    wish.fences = held.job.token
    wish.body = bodies.seal(wish.event_id, {"message": message, "stack": None})
    wish.error = ErrorFact(type=error_type, fingerprint=fingerprint(error_type, "", None), body=wish.body.fact)
    return wish
