"""Beats of workers: leases are extended in one statement for all beats that arrived together.

Nothing of it is an event.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import worker as worker_actor
from jobplane.contracts.workers import Beat, BeatReply
from jobplane.jobs.decider import ReleaseJob
from jobplane.jobs.ledger import Cause, Ledger, Wish

_EXTEND: Final = """
WITH told AS (
    SELECT * FROM unnest(%s::uuid[], %s::text[], %s::real[]) AS b (id, token, progress)
), held AS (
    SELECT job.id, told.progress FROM job JOIN told ON job.id = told.id
    WHERE job.status = 'RUNNING' AND job.token = told.token ORDER BY job.id FOR UPDATE OF job
)
UPDATE job SET lease_until = greatest(job.lease_until, clock_timestamp() + job.lease_ms * interval '1 ms'),
    progress = coalesce(held.progress, job.progress), unmentioned_at = NULL
FROM held WHERE job.id = held.id RETURNING job.id, job.lease_until
"""
_STOPPING: Final = "SELECT id, stop_token FROM job WHERE id = ANY(%s::uuid[]) AND stop = 'pending'"
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
        extended: dict[str, datetime] = {}
        stopping: dict[str, str] = {}
        async with self._pool.connection() as conn:
            if mentioned:
                ids = [job for job, _, _ in mentioned]
                parameters = (ids, [token for _, token, _ in mentioned], [progress for _, _, progress in mentioned])
                extended = dict(await (await conn.execute(_EXTEND, parameters)).fetchall())
                missing = [job for job in ids if job not in extended]
                if missing:
                    stopping = dict(await (await conn.execute(_STOPPING, (missing,))).fetchall())
            workers = sorted({beat.worker for beat in beats})
            silent = await (await conn.execute(_UNMENTIONED, (workers, [job for job, _, _ in mentioned]))).fetchall()
        await self._release([row for row in silent if row[3]])
        return [_reply(beat, extended, stopping) for beat in beats]

    async def _release(self, forgotten: Sequence[Any]) -> None:
        if forgotten:
            wishes = [
                Wish(ReleaseJob(job, token, "forgotten"), Cause(worker_actor(name), new_id()))
                for job, token, name, _ in forgotten
            ]
            await self._ledger.settle(wishes)


def _reply(beat: Beat, extended: dict[str, datetime], stopping: dict[str, str]) -> BeatReply:
    ends = [extended[run.job] for run in beat.running if run.job in extended]
    others = [run for run in beat.running if run.job not in extended]
    cancel = [run.job for run in others if stopping.get(run.job) == run.token]
    return BeatReply(
        extend_to=min(ends) if ends else None,
        cancel=cancel,
        lost=[run.job for run in others if stopping.get(run.job) != run.token],
    )
