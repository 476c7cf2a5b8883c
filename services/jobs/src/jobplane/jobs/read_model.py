"""What others may read of jobs: one job, lists, history, counts; every page by keyset, no counting of rows."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, JsonValue

from jobplane.contracts import cursors
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import CommandId, JobId, Position
from jobplane.contracts.jobs import (
    JobErrorView,
    JobPage,
    JobStatus,
    JobView,
    QueueStats,
    Stats,
)
from jobplane.contracts.queries import ListJobs, OneCommand, OneJob
from jobplane.jobs import bodies, outcomes, walks
from jobplane.jobs.job import Job
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.queue_views import OLDEST
from jobplane.jobs.redaction import BY_DEFAULT, Redaction
from jobplane.jobs.rows import JOB_COLUMNS, job_of
from jobplane.jobs.walks import Trail

VIEW_COLUMNS: Final = f"{JOB_COLUMNS}, position, progress"
_POSITION, _PROGRESS = -2, -1
_BY_ID: Final = f"SELECT {VIEW_COLUMNS} FROM job WHERE id = ANY(%s::uuid[])"  # noqa: S608 - constants
_STATS: Final = f"""
SELECT (SELECT pos FROM journal_head), c.queue, c.status, c.n,
    CASE WHEN c.status = 'PENDING' AND c.n > 0 THEN {OLDEST} END
FROM job_count c ORDER BY c.queue
"""  # noqa: S608 - constants
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PAGE_BYTES: Final = 512 * 1024
"""What a page holds at most, but for a single item that is larger; messages must stay under `MAX_MESSAGE_BYTES`."""


Item = TypeVar("Item", bound=BaseModel)


class ReadModel:
    """Reads the service's own tables: it always sees what was committed before the question."""

    def __init__(self, pool: AsyncConnectionPool, redaction: Redaction = BY_DEFAULT) -> None:
        self._pool = pool
        self._redaction = redaction

    async def views(self, ids: Sequence[str]) -> dict[str, JobView]:
        """Whole jobs by id; unknown ids are left out."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute(_BY_ID, (list(ids),))
            found = await cursor.fetchall()
            jobs = [job_of(row) for row in found]
            wanted = [ref for job in jobs for ref in (job.payload_ref, job.result_ref, job.error_ref)]
            texts = await bodies.shown(conn, wanted, self._redaction)
        return {job.id: view(job, row[_POSITION], row[_PROGRESS], texts) for job, row in zip(jobs, found, strict=True)}

    async def explained(self, told: Sequence[Stored]) -> list[Stored]:
        """Outcomes in order, with what the journal knows of the refusals among them."""
        if not any(map(outcomes.worth_explaining, told)):
            return list(told)
        async with self._pool.connection() as conn:
            return [await outcomes.explained(conn, one) for one in told]

    async def one(self, query: OneJob) -> JobView:
        """One job, whole.

        Raises:
            Refused: `job_not_found`.
        """
        found = await self.views([query.job_id])
        if query.job_id not in found:
            raise not_found(query.job_id)
        return found[query.job_id]

    async def page(self, query: ListJobs) -> JobPage:
        """One page of jobs, newest first, without payload, result and error.stack.

        Raises:
            Refused: `invalid_cursor`.
        """
        sql, parameters = select(query)
        async with self._pool.connection() as conn:
            found = await (await conn.execute(sql, parameters)).fetchall()
            shown = [(job_of(row), row) for row in found[: query.limit]]
            texts = await bodies.shown(conn, (job.error_ref for job, _ in shown), self._redaction, stacks=False)
        items = fitting([_in_list(view(job, row[_POSITION], row[_PROGRESS], texts)) for job, row in shown])
        more = len(found) > len(items)
        return JobPage(items=items, next_cursor=cursors.sealed(items[-1].id) if more else None)

    async def listed(self, ids: Sequence[str]) -> list[JobView]:
        """Jobs as lists show them, in the order of their ids here, as many as fit; unknown ids are left out."""
        if not ids:
            return []
        async with self._pool.connection() as conn:
            found = await (await conn.execute(_BY_ID, (list(ids),))).fetchall()
            rows: dict[str, tuple[Job, Sequence[Any]]] = {
                job.id: (job, row) for job, row in ((job_of(row), row) for row in found)
            }
            wanted = [job.error_ref for job, _ in rows.values()]
            texts = await bodies.shown(conn, wanted, self._redaction, stacks=False)
        shown = [rows[job_id] for job_id in ids if job_id in rows]
        return fitting([_in_list(view(job, row[_POSITION], row[_PROGRESS], texts)) for job, row in shown])

    async def stats(self) -> Stats:
        """Exact counts, all true for the same journal position."""
        async with self._pool.connection() as conn:
            found = await (await conn.execute(_STATS)).fetchall()
            head = await (await conn.execute("SELECT pos FROM journal_head")).fetchone() if not found else None
        by_status = dict.fromkeys(JobStatus, 0)
        queues: dict[str, QueueStats] = {}
        for _, queue, status, n, oldest_at in found:
            by_status[JobStatus(status)] += n
            stats = queues.get(queue, QueueStats(queue=queue, pending=0, running=0, oldest_at=None))
            if status == JobStatus.PENDING:
                stats = stats.model_copy(update={"pending": n, "oldest_at": oldest_at})
            elif status == JobStatus.RUNNING:
                stats = stats.model_copy(update={"running": n})
            queues[queue] = stats
        position = found[0][0] if found else head[0] if head else 0
        return Stats(by_status=by_status, queues=list(queues.values()), position=Position(position))

    async def command(self, query: OneCommand) -> CommandOutcome:
        """What became of a command.

        Raises:
            Refused: `command_not_found`: it was never decided here (or longer ago than outcomes are kept).
        """
        async with self._pool.connection() as conn:
            stored = await outcomes.load(conn, query.command_id)
            if stored is not None:
                stored = await outcomes.explained(conn, stored)
        if stored is None:
            raise Refused(
                "command_not_found",
                "No outcome is known for this command: check its id, or ask again while it is pending.",
            )
        views = await self.views([stored.job_id] if stored.job_id else [])
        return outcome(query.command_id, stored, views.get(stored.job_id or ""))


def select(query: ListJobs) -> tuple[str, Sequence[object]]:
    """The statement for a page, and its parameters; it asks for one row more, to know whether there is a next page."""
    after = None if query.cursor is None else cursors.opened(query.cursor, _ID)[0]
    return walks.walk(Trail(query.status, query.queue, query.kind), after, query.limit + 1, columns=VIEW_COLUMNS)


def outcome(command_id: str, stored: Stored, job: JobView | None) -> CommandOutcome:
    """A stored outcome as callers see it."""
    return CommandOutcome(
        command_id=CommandId(command_id),
        status=stored.status,
        code=stored.code,
        detail=stored.detail,
        facts=stored.facts,
        job_id=stored.job_id,
        job=job,
        position=None if stored.position is None else Position(stored.position),
    )


def view(job: Job, position: int, progress: float | None, texts: Mapping[str, JsonValue]) -> JobView:
    """A job as everybody sees it; `texts` are its bodies by reference (an erased one is simply not there)."""
    payload = {} if job.payload_ref is None else texts.get(job.payload_ref)
    return JobView(
        id=job.id,
        kind=job.kind,
        queue=job.queue,
        status=job.status,
        priority=job.priority,
        run=job.run,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        run_at=job.run_at,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        version=job.version,
        position=Position(position),
        payload=payload if isinstance(payload, dict) else None,
        result=texts.get(job.result_ref or ""),
        error=_error(job, texts),
        tags=list(job.tags),
        unique_key=job.unique_key,
        progress=None if progress is None else round(progress, 4),
        worker=job.worker,
        asset=job.asset,
        cloned_from=job.cloned_from,
        trace_id=job.trace_id,
        timeout_s=None if job.timeout_ms is None else job.timeout_ms / 1000,
        forced=job.forced,
        stop=job.stop,
    )


def _error(job: Job, texts: Mapping[str, JsonValue]) -> JobErrorView | None:
    if job.error_type is None or job.error_fingerprint is None:
        return None
    body = texts.get(job.error_ref or "")
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    return JobErrorView(
        type=job.error_type,
        message=told.get("message") or "",
        stack=told.get("stack"),
        fingerprint=job.error_fingerprint,
    )


def _in_list(whole: JobView) -> JobView:
    error = whole.error.model_copy(update={"stack": None}) if whole.error else None
    return whole.model_copy(update={"payload": None, "result": None, "error": error})


def fitting(items: list[Item]) -> list[Item]:
    """The longest beginning that fits into one page; never less than one item."""
    size = 0
    for count, item in enumerate(items):
        size += len(item.model_dump_json().encode())
        if size > _PAGE_BYTES and count:
            return items[:count]
    return items


def not_found(job_id: JobId) -> Refused:
    """There is no such job."""
    return Refused(
        "job_not_found",
        "There is no such job: check the id, or look the job up in the list of jobs.",
        {"job_id": job_id},
    )
