"""The rescuer: ends runs whose lease or time is over, and settles cancels that nobody confirmed.

Only the database's clock counts.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.actors import system
from jobplane.contracts.job_events import ErrorFact
from jobplane.contracts.workers import DEFAULT_LEASE_MS
from jobplane.jobs import bodies
from jobplane.jobs.decider import AnyCommand, ExpireLease, SettleStop, TimeoutJob
from jobplane.jobs.fingerprint import fingerprint
from jobplane.jobs.ledger import Ledger, Plan
from jobplane.jobs.postgres_store import ANY_DUE
from jobplane.jobs.rows import Held
from jobplane.jobs.store import Due, Overdue
from jobplane.jobs.wishes import Cause, Wish

EVERY_S: Final = 1.0
_AT_ONCE: Final = 500
_ACTOR: Final = system("rescuer")

_SERVED: Final = """
UPDATE beat_service SET served_until = clock_timestamp() + %s,
    since = CASE WHEN served_until < clock_timestamp() THEN clock_timestamp() ELSE since END
"""


class Rescuer:
    """Looks for runs that nobody will end."""

    def __init__(self, ledger: Ledger, pool: AsyncConnectionPool) -> None:
        self._ledger = ledger
        self._pool = pool

    async def run_once(self) -> int:
        """Settle all that is overdue now; gives how many jobs changed."""
        async with self._pool.connection() as conn:
            found = await (await conn.execute(ANY_DUE)).fetchone()
        return sum([await self.settle(due) for due, is_due in zip(Due, found or (), strict=True) if is_due])

    async def settle(self, due: Due) -> int:
        """Settle all that is overdue in one way; gives how many jobs changed."""
        changed = 0
        while True:
            settled = await self._ledger.write(Overdue(due, _AT_ONCE), _PLANS[due])
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


_PLANS: Final[Mapping[Due, Plan]] = {
    Due.EXPIRED: _plan(_expire),
    Due.OVERDUE: _plan(_time_out),
    Due.UNSETTLED: _plan(_settle_stop),
}
