"""The archiver: lets go of jobs that were over for as long as the installation keeps them, oldest first."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.contracts.actors import system
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.decider import ArchiveJob
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.wishes import Cause, Wish

EVERY_S: Final = 600.0
_AT_ONCE: Final = 500
_ACTOR: Final = system("archiver")
# A job is made before it is over, and its id tells when it was made: so the look begins at the oldest and ends where
# nothing can be old enough. The status stands in the text, or no plan could use the index of what is over.
_OLD: Final = """
SELECT id FROM job WHERE status = '{status}' AND id < %s::uuid AND finished_at < clock_timestamp() - %s::interval
    AND stop IS DISTINCT FROM 'pending' ORDER BY id LIMIT %s
"""


class Archiver:
    """`kept` tells for how long; jobs in other statuses are kept for ever."""

    def __init__(self, ledger: Ledger, pool: AsyncConnectionPool, kept: Mapping[JobStatus, timedelta]) -> None:
        self._ledger = ledger
        self._pool = pool
        self._kept = kept

    async def run_once(self) -> int:
        """Archive all that is old enough, in small bites; gives how many jobs."""
        return sum([await self._archive(status, retention) for status, retention in self._kept.items()])

    async def _archive(self, status: JobStatus, retention: timedelta) -> int:
        archived = 0
        while True:
            found = await self._old(status, retention)
            wishes = [Wish(ArchiveJob(job_id, retention), Cause(_ACTOR)) for job_id in found]
            settled = await self._ledger.settle(wishes) if wishes else []
            bite = sum(item.event is not None for item in settled)
            archived += bite
            if bite < _AT_ONCE:
                return archived

    async def _old(self, status: JobStatus, retention: timedelta) -> list[JobId]:
        newest = UUID(int=int((clock.now() - retention).timestamp() * 1000) << 80)
        async with self._pool.connection() as conn:
            cursor = await conn.execute(_OLD.format(status=status.value), (str(newest), retention, _AT_ONCE))
            return [JobId(row[0]) for row in await cursor.fetchall()]
