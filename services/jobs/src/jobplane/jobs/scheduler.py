"""The scheduler: makes waiting jobs ready when their time comes, so that far-future jobs never slow a claim down."""

from collections.abc import Callable
from typing import Final

from psycopg_pool import AsyncConnectionPool

EVERY_S: Final = 0.25
_AT_ONCE: Final = 1000
_READY: Final = """
WITH due AS (
    SELECT id FROM job WHERE id IN (
        SELECT id FROM job WHERE status = 'PENDING' AND NOT ready AND run_at <= clock_timestamp()
        ORDER BY run_at LIMIT %s
    ) ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE job SET ready = true FROM due
WHERE job.id = due.id AND job.status = 'PENDING' AND job.run_at <= clock_timestamp()
RETURNING job.queue
"""


class Scheduler:
    """`wake(queue)` is called for every queue that got ready jobs."""

    def __init__(self, pool: AsyncConnectionPool, wake: Callable[[str], None]) -> None:
        self._pool = pool
        self._wake = wake

    async def run_once(self) -> int:
        """Make ready what is due; gives how many jobs."""
        made_ready = 0
        while True:
            async with self._pool.connection() as conn:
                queues = [row[0] for row in await (await conn.execute(_READY, (_AT_ONCE,))).fetchall()]
            for queue in set(queues):
                self._wake(queue)
            made_ready += len(queues)
            if len(queues) < _AT_ONCE:
                return made_ready
