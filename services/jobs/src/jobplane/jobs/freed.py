"""Limited queues whose jobs have ended: others may start there, so those who wait are called."""

from collections.abc import Sequence

from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.allowance import keys_of
from jobplane.jobs.wishes import Settled

EVERY_S = 1.0
_LIMITED = "SELECT key FROM queue_control WHERE active AND limits ->> 'concurrency' IS NOT NULL"


class Freed:
    """Knows which queues and kinds limit how many run, as of a second ago; whoever waits looks by itself, too."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._limited: frozenset[str] = frozenset()

    async def run_once(self) -> int:
        """Look which are limited; gives how many."""
        async with self._pool.connection() as conn:
            self._limited = frozenset(row[0] for row in await (await conn.execute(_LIMITED)).fetchall())
        return len(self._limited)

    def queues(self, settled: Sequence[Settled]) -> set[str]:
        """Where runs have ended whose number is limited."""
        if not self._limited:
            return set()
        ended = [
            item.held.job for item in settled if item.event is not None and item.held is not None and _has_ended(item)
        ]
        return {job.queue for job in ended if not self._limited.isdisjoint(keys_of(job.queue, [job.kind]))}


def _has_ended(item: Settled) -> bool:
    before = getattr(item.event, "before", None)
    after = getattr(item.event, "after", None)
    return before == JobStatus.RUNNING and after != JobStatus.RUNNING
