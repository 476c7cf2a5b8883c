"""The job row: the inline projection of a job's events, plus what only the row has (lease end, readiness, progress)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from jobplane.contracts.jobs import JobStatus, StopState
from jobplane.jobs.job import Job

_FIELDS: Final = tuple(field.name for field in fields(Job))
"""A job's fields and its columns have the same names, in the same order."""
_STATUS, _TAGS, _STOP = (_FIELDS.index(name) for name in ("status", "tags", "stop"))

JOB_COLUMNS: Final = ", ".join(_FIELDS)
LOCKED_COLUMNS: Final = f"{JOB_COLUMNS}, lease_until, traceparent, correlation_id, position"


@dataclass(slots=True)
class Held:
    """A locked job: its state, and what only its row knows."""

    job: Job
    lease_until: datetime | None
    traceparent: str
    """Of the request that created, retried, restored or forced it last; its runs continue it."""
    correlation_id: str
    """Of the same request."""
    before: Job | None
    """As the row was when it was locked; None for a job that is not in the table yet."""
    position: int = 0
    """Of its latest event; 0 for a job that is not in the table yet."""
    started: bool = False
    """A run started in this transaction."""
    archived: bool = False
    """Its row goes in this transaction."""
    lease_request: str | None = None
    payload: bytes | None = None
    """Known only to claims, and only if it is small."""
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
    """The locked job in the columns `LOCKED_COLUMNS`, and perhaps its payload and the size of it."""
    job = job_of(row)
    lease_until, traceparent, correlation_id, position, *payload = row[len(_FIELDS) :]
    found = Held(job, lease_until, traceparent, correlation_id, job, position)
    if payload:
        found.payload, found.payload_bytes = payload
    return found


def ready(job: Job, now: datetime) -> bool:
    """Whether a worker may take it now."""
    return job.status is JobStatus.PENDING and (job.forced or job.run_at <= now)


def lease_end(item: Held, now: datetime) -> datetime | None:
    """When the lease ends, by the clock of the database."""
    if item.job.status is not JobStatus.RUNNING:
        return None
    if item.started and item.job.lease_ms is not None:
        return now + timedelta(milliseconds=item.job.lease_ms)
    return item.lease_until
