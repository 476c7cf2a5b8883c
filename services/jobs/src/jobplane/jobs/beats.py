"""Beats of workers: leases are extended in one statement for all beats that arrived together.

Nothing of it is an event.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.actors import worker as worker_actor
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.workers import Beat, BeatReply
from jobplane.jobs.decider import ReleaseJob
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.wishes import Cause, Wish

log = structlog.get_logger()

_EXTEND: Final = """
WITH told AS (
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::real[]) AS b (id, token, progress)
), held AS (
    SELECT job.id, told.progress FROM job JOIN told ON job.id = told.id
    WHERE job.status = 'RUNNING' AND job.token = told.token ORDER BY job.id FOR UPDATE OF job
)
UPDATE job SET lease_until = greatest(job.lease_until, clock_timestamp() + job.lease_ms * interval '1 ms'),
    progress = coalesce(held.progress, job.progress), unmentioned_at = NULL
FROM held WHERE job.id = held.id RETURNING job.id, job.token, job.lease_until
"""
# A worker that still works on a cancelled run is heard of: what became of the run stays open for another lease.
_STOPPING: Final = """
WITH told AS (
    SELECT * FROM unnest(%s::uuid[], %s::text[]) AS b (id, token)
), stopping AS (
    SELECT job.id FROM job JOIN told ON job.id = told.id
    WHERE job.stop = 'pending' AND job.stop_token = told.token ORDER BY job.id FOR UPDATE OF job
)
UPDATE job SET lease_until = clock_timestamp() + job.lease_ms * interval '1 ms'
FROM stopping WHERE job.id = stopping.id RETURNING job.id, job.stop_token
"""
# A lease that a beat does not mention is marked; one that was marked by an earlier beat is given back.
_UNMENTIONED: Final = """
WITH beat AS (
    SELECT * FROM unnest(%s::text[]) AS b (worker)
), silent AS (
    SELECT job.id, job.unmentioned_at FROM job JOIN beat ON job.worker = beat.worker
    WHERE job.status = 'RUNNING' AND job.id <> ALL(%s::uuid[]) ORDER BY job.id FOR UPDATE OF job SKIP LOCKED
)
UPDATE job SET unmentioned_at = coalesce(job.unmentioned_at, clock_timestamp()) FROM silent WHERE job.id = silent.id
RETURNING job.id, job.token, job.worker, silent.unmentioned_at < clock_timestamp() - job.lease_ms * interval '0.25 ms'
"""


class Beats:
    """Serves beats; a run that two successive beats of its worker do not mention is released, uncounted."""

    def __init__(self, ledger: Ledger, pool: AsyncConnectionPool) -> None:
        self._ledger = ledger
        self._pool = pool

    async def serve(self, beats: Sequence[Beat]) -> list[BeatReply]:
        """One answer per beat, in order."""
        mentioned = [(run.job, run.token, run.progress) for beat in beats for run in beat.running]
        extended: dict[tuple[str, str], datetime] = {}
        stopping: set[tuple[str, str]] = set()
        async with self._pool.connection() as conn:
            if mentioned:
                ids = [job for job, _, _ in mentioned]
                parameters = (ids, [token for _, token, _ in mentioned], [progress for _, _, progress in mentioned])
                found = await (await conn.execute(_EXTEND, parameters)).fetchall()
                extended = {(job, token): ends for job, token, ends in found}
                others = [(job, token) for job, token, _ in mentioned if (job, token) not in extended]
                if others:
                    cursor = await conn.execute(_STOPPING, tuple(map(list, zip(*others, strict=True))))
                    stopping = set(await cursor.fetchall())
            workers = sorted({beat.worker for beat in beats})
            silent = await (await conn.execute(_UNMENTIONED, (workers, [job for job, _ in extended]))).fetchall()
        await self._release([row for row in silent if row[3]])
        return [_reply(beat, extended, stopping) for beat in beats]

    async def _release(self, forgotten: Sequence[Any]) -> None:
        """Give back what was forgotten; if that fails, the next beats ask for it again."""
        if not forgotten:
            return
        wishes = [
            Wish(ReleaseJob(job, token, "forgotten"), Cause(worker_actor(name))) for job, token, name, _ in forgotten
        ]
        try:
            await self._ledger.settle(wishes)
        except (Unavailable, psycopg.Error) as error:
            log.warning("beats.not_released", jobs=len(wishes), error=type(error).__name__)


def _reply(
    beat: Beat, extended: Mapping[tuple[str, str], datetime], stopping: Collection[tuple[str, str]]
) -> BeatReply:
    runs = [(run.job, run.token) for run in beat.running]
    ends = [extended[run] for run in runs if run in extended]
    return BeatReply(
        extend_to=min(ends) if ends else None,
        cancel=[run[0] for run in runs if run not in extended and run in stopping],
        lost=[run[0] for run in runs if run not in extended and run not in stopping],
    )
