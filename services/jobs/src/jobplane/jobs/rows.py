"""The job row: the inline projection of a job's events, plus what only the row has (lease end, readiness, progress)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus, StopState
from jobplane.jobs.job import Job

JOB_COLUMNS: Final = (
    "id, kind, queue, status, priority, run_at, created_at, max_attempts, timeout_ms, tags, unique_key, asset, payload_ref, result_ref, "
    "error_ref, error_type, error_fingerprint, run, attempt, orphanings, forced, worker, token, lease_ms, started_at, finished_at, stop, "
    "stop_token, version, trace_id"
)
_STATUS, _TAGS, _STOP = 3, 9, 26
_JOB_WIDTH: Final = 30
LOCKED_COLUMNS: Final = f"{JOB_COLUMNS}, lease_until, traceparent"

_INSERT: Final = f"""
INSERT INTO job ({JOB_COLUMNS}, traceparent, position, ready, lease_until, lease_request)
VALUES ({", ".join(["%s"] * (_JOB_WIDTH + 5))})
"""
_UPDATE: Final = """
UPDATE job SET status = %s, priority = %s, run_at = %s, max_attempts = %s, payload_ref = %s, result_ref = %s, error_ref = %s,
    error_type = %s, error_fingerprint = %s, run = %s, attempt = %s, orphanings = %s, forced = %s, worker = %s, token = %s, lease_ms = %s,
    started_at = %s, finished_at = %s, stop = %s, stop_token = %s, version = %s, traceparent = %s, position = %s, ready = %s,
    lease_until = %s, lease_request = %s, progress = CASE WHEN %s THEN NULL ELSE progress END, unmentioned_at = NULL
WHERE id = %s
"""


@dataclass(slots=True)
class Held:
    """A locked job: its state, and what only its row knows."""

    job: Job
    lease_until: datetime | None
    traceparent: str
    version_read: int
    """The version the row had when it was locked; 0 for a job that is not in the table yet."""
    position: int = 0
    started: bool = False
    """A run started in this transaction."""
    lease_request: str | None = None


def job_of(row: Sequence[Any]) -> Job:
    """The job in the columns `JOB_COLUMNS`."""
    values = list(row[:_JOB_WIDTH])
    values[_STATUS] = JobStatus(values[_STATUS])
    values[_TAGS] = tuple(values[_TAGS])
    values[_STOP] = StopState(values[_STOP]) if values[_STOP] else None
    return Job(*values)


def held(row: Sequence[Any]) -> Held:
    """The locked job in the columns `LOCKED_COLUMNS`."""
    job = job_of(row)
    return Held(job, row[_JOB_WIDTH], row[_JOB_WIDTH + 1], job.version)


def ready(job: Job, now: datetime) -> bool:
    """Whether a worker may take it now."""
    return job.status is JobStatus.PENDING and (job.forced or job.run_at <= now)


async def write(conn: AsyncConnection[Any], changed: Sequence[Held], now: datetime) -> None:
    """Insert the new jobs and update the others; every one was locked by this transaction."""
    new = [item for item in changed if item.version_read == 0]
    old = [item for item in changed if item.version_read > 0]
    async with conn.cursor() as cursor:
        if new:
            await cursor.executemany(_INSERT, [_insert_values(item, now) for item in new])
    async with conn.cursor() as cursor:
        if old:
            await cursor.executemany(_UPDATE, [_update_values(item, now) for item in old])


def _lease_end(item: Held, now: datetime) -> datetime | None:
    if item.job.status is not JobStatus.RUNNING:
        return None
    if item.started and item.job.lease_ms is not None:
        return now + timedelta(milliseconds=item.job.lease_ms)
    return item.lease_until


def _insert_values(item: Held, now: datetime) -> tuple[Any, ...]:
    j = item.job
    return (
        j.id, j.kind, j.queue, j.status.value, j.priority, j.run_at, j.created_at, j.max_attempts, j.timeout_ms, list(j.tags), j.unique_key,
        j.asset, j.payload_ref, j.result_ref, j.error_ref, j.error_type, j.error_fingerprint, j.run, j.attempt, j.orphanings, j.forced,
        j.worker, j.token, j.lease_ms, j.started_at, j.finished_at, j.stop.value if j.stop else None, j.stop_token, j.version, j.trace_id,
        item.traceparent, item.position, ready(j, now), _lease_end(item, now), item.lease_request,
    )  # fmt: skip


def _update_values(item: Held, now: datetime) -> tuple[Any, ...]:
    j = item.job
    return (
        j.status.value, j.priority, j.run_at, j.max_attempts, j.payload_ref, j.result_ref, j.error_ref, j.error_type, j.error_fingerprint,
        j.run, j.attempt, j.orphanings, j.forced, j.worker, j.token, j.lease_ms, j.started_at, j.finished_at,
        j.stop.value if j.stop else None, j.stop_token, j.version, item.traceparent, item.position, ready(j, now), _lease_end(item, now),
        item.lease_request, item.started, j.id,
    )  # fmt: skip


async def count(conn: AsyncConnection[Any], moves: Sequence[tuple[str, JobStatus | None, JobStatus]]) -> None:
    """Move the maintained counters: (queue, status before, status after) per change. Only while the journal's head is held."""
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
        await cursor.executemany(
            "INSERT INTO job_count AS c (queue, status, n) VALUES (%s, %s, %s) ON CONFLICT (queue, status) DO UPDATE SET n = c.n + excluded.n",
            rows,
        )
