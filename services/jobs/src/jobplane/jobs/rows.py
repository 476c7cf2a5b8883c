"""The job row: the inline projection of a job's events, plus what only the row has (lease end, readiness, progress)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from psycopg import AsyncConnection

from jobplane.contracts.jobs import FINISHED, JobStatus, StopState
from jobplane.jobs.job import Job

_FIELDS: Final = tuple(field.name for field in fields(Job))
"""A job's fields and its columns have the same names, in the same order."""
_FIXED: Final = frozenset(
    {"id", "kind", "queue", "created_at", "timeout_ms", "tags", "unique_key", "asset", "trace_id"}
)
_CHANGING: Final = tuple(name for name in _FIELDS if name not in _FIXED)
_ROW_ONLY: Final = ("traceparent", "correlation_id", "position", "ready", "lease_until", "lease_request")
_STATUS, _TAGS, _STOP = (_FIELDS.index(name) for name in ("status", "tags", "stop"))

JOB_COLUMNS: Final = ", ".join(_FIELDS)
LOCKED_COLUMNS: Final = f"{JOB_COLUMNS}, lease_until, traceparent, correlation_id, position"

_INSERT: Final = f"""
INSERT INTO job ({", ".join((*_FIELDS, *_ROW_ONLY))}) VALUES ({", ".join(["%s"] * len((*_FIELDS, *_ROW_ONLY)))})
"""  # noqa: S608 - constants
_UPDATE: Final = f"""
UPDATE job SET {", ".join(f"{name} = %s" for name in (*_CHANGING, *_ROW_ONLY))},
    progress = CASE WHEN %s THEN NULL ELSE progress END, unmentioned_at = NULL
WHERE id = %s
"""  # noqa: S608 - constants
_COUNT: Final = """
INSERT INTO job_count AS c (queue, status, n) VALUES (%s, %s, %s)
ON CONFLICT (queue, status) DO UPDATE SET n = c.n + excluded.n
"""
_fields_of = attrgetter(*_FIELDS)
_changing_of = attrgetter(*_CHANGING)


@dataclass(slots=True)
class Held:
    """A locked job: its state, and what only its row knows."""

    job: Job
    lease_until: datetime | None
    traceparent: str
    """Of the request that created, retried or forced it last; its runs continue it."""
    correlation_id: str
    """Of the same request."""
    version_read: int
    """The version the row had when it was locked; 0 for a job that is not in the table yet."""
    position: int = 0
    """Of its latest event; 0 for a job that is not in the table yet."""
    started: bool = False
    """A run started in this transaction."""
    lease_request: str | None = None
    payload_bytes: int = 0
    """Known only to claims."""


def job_of(row: Sequence[Any]) -> Job:
    """The job in the columns `JOB_COLUMNS`."""
    values = list(row[: len(_FIELDS)])
    values[_STATUS] = JobStatus(values[_STATUS])
    values[_TAGS] = tuple(values[_TAGS])
    values[_STOP] = StopState(values[_STOP]) if values[_STOP] else None
    return Job(*values)


def held(row: Sequence[Any]) -> Held:
    """The locked job in the columns `LOCKED_COLUMNS`, and perhaps the size of its payload."""
    job = job_of(row)
    lease_until, traceparent, correlation_id, position, *size = row[len(_FIELDS) :]
    return Held(job, lease_until, traceparent, correlation_id, job.version, position, payload_bytes=sum(size))


def ready(job: Job, now: datetime) -> bool:
    """Whether a worker may take it now."""
    return job.status is JobStatus.PENDING and (job.forced or job.run_at <= now)


async def write(conn: AsyncConnection[Any], changed: Sequence[Held], now: datetime) -> None:
    """Insert the new jobs and update the others; every one was locked by this transaction."""
    new = [item for item in changed if item.version_read == 0]
    old = [item for item in changed if item.version_read > 0]
    old.sort(key=lambda item: item.job.status not in FINISHED)  # who gives up a unique key goes before who takes it
    async with conn.cursor() as cursor:
        if old:
            await cursor.executemany(_UPDATE, [_update_values(item, now) for item in old])
    async with conn.cursor() as cursor:
        if new:
            await cursor.executemany(_INSERT, [_insert_values(item, now) for item in new])


def _lease_end(item: Held, now: datetime) -> datetime | None:
    if item.job.status is not JobStatus.RUNNING:
        return None
    if item.started and item.job.lease_ms is not None:
        return now + timedelta(milliseconds=item.job.lease_ms)
    return item.lease_until


def _insert_values(item: Held, now: datetime) -> tuple[Any, ...]:
    values = list(_fields_of(item.job))
    values[_TAGS] = list(item.job.tags)
    return (*values, *_row_only(item, now))


def _update_values(item: Held, now: datetime) -> tuple[Any, ...]:
    return (*_changing_of(item.job), *_row_only(item, now), item.started, item.job.id)


def _row_only(item: Held, now: datetime) -> tuple[Any, ...]:
    """The columns `_ROW_ONLY`."""
    return (
        item.traceparent,
        item.correlation_id,
        item.position,
        ready(item.job, now),
        _lease_end(item, now),
        item.lease_request,
    )


async def count(conn: AsyncConnection[Any], moves: Sequence[tuple[str, JobStatus | None, JobStatus]]) -> None:
    """Move the maintained counters: (queue, status before, status after) per change.

    Only while the journal's head is held.
    """
    deltas: dict[tuple[str, str], int] = {}
    for queue, before, after in moves:
        if before is after:
            continue
        if before is not None:
            deltas[queue, before.value] = deltas.get((queue, before.value), 0) - 1
        deltas[queue, after.value] = deltas.get((queue, after.value), 0) + 1
    rows = [(queue, status, n) for (queue, status), n in sorted(deltas.items()) if n]
    if not rows:
        return
    async with conn.cursor() as cursor:
        await cursor.executemany(_COUNT, rows)
