"""The scheduler: makes waiting jobs ready when their time comes, so that far-future jobs never slow a claim down."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from psycopg_pool import AsyncConnectionPool

EVERY_S: Final = 1.0
_SOONEST_S: Final = 0.01
_AT_ONCE: Final = 1000
# The clock is asked once, in a query of its own: a condition on the clock itself cannot end the scan of an index.
_READY: Final = """
WITH due AS (
    SELECT id FROM job WHERE id IN (
        SELECT id FROM job WHERE status = 'PENDING' AND NOT ready AND run_at <= (SELECT clock_timestamp())
        ORDER BY run_at LIMIT %s
    ) ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE job SET ready = true FROM due
WHERE job.id = due.id AND job.status = 'PENDING' AND job.run_at <= clock_timestamp()
RETURNING job.queue
"""


_NEXT: Final = """
SELECT extract(epoch FROM min(run_at) - clock_timestamp())::float8 FROM job WHERE status = 'PENDING' AND NOT ready
"""


class Scheduler:
    """`wake(queue)` is called for every queue that got ready jobs.

    It looks every second; `again(seconds)` asks for a look in between when a job is due sooner.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        wake: Callable[[str], None],
        again: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._pool = pool
        self._wake = wake
        self._again = again

    def expect(self, wait: timedelta) -> None:
        """A job was just told to wait that long."""
        if wait.total_seconds() < EVERY_S:
            self._again(max(_SOONEST_S, wait.total_seconds()))

    async def run_once(self) -> int:
        """Make ready what is due; gives how many jobs."""
        made_ready = 0
        while await self._something_is_due():
            async with self._pool.connection() as conn:
                queues = [row[0] for row in await (await conn.execute(_READY, (_AT_ONCE,))).fetchall()]
            if not queues:  # somebody else has what is due
                break
            for queue in set(queues):
                self._wake(queue)
            made_ready += len(queues)
        return made_ready

    async def _something_is_due(self) -> bool:
        """One look at the index; if the next job is due soon, ask to be called then."""
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_NEXT)).fetchone()
        if row is None or row[0] is None:
            return False
        if row[0] > 0:
            self.expect(timedelta(seconds=row[0]))
        return bool(row[0] <= 0)
