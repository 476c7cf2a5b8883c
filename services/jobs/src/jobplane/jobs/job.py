"""A job and what each event does to it; which events may happen is decided in `decider`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from jobplane.contracts.ids import BodyRef, JobId
from jobplane.contracts.job_events import (
    AnyJobEvent,
    JobArchived,
    JobCancelled,
    JobCompleted,
    JobCreated,
    JobEdited,
    JobFailed,
    JobFinishedAnyway,
    JobForceRun,
    JobOrphaned,
    JobReleased,
    JobRestored,
    JobRetried,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import FINISHED, JobStatus, StopState


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its events tell it; `token` and `stop_token` alone are not in the events."""

    id: JobId
    kind: str
    queue: str
    status: JobStatus
    priority: int
    run_at: datetime
    """When it may start; in the future for a job that waits for its time or its next attempt."""
    created_at: datetime
    max_attempts: int
    timeout_ms: int | None
    tags: tuple[str, ...]
    unique_key: str | None
    asset: str | None
    payload_ref: BodyRef | None
    """None: an empty payload."""
    result_ref: BodyRef | None
    error_ref: BodyRef | None
    error_type: str | None
    error_fingerprint: str | None
    """Why the latest failed run failed; cleared by a retry and by success."""
    run: int
    """Number of the latest run; never resets."""
    attempt: int
    """Counted runs since the last reset, the current one included."""
    orphanings: int
    """Leases that ran out in a row."""
    forced: bool
    """Before all priorities, until its next start."""
    worker: str | None
    """Who runs it, or ran it last."""
    token: str | None
    """Fences the current run; after an accepted report the accepted token, until the next start."""
    lease_ms: int | None
    """Lease of the latest run."""
    started_at: datetime | None
    """When the latest run started."""
    finished_at: datetime | None
    stop: StopState | None
    """What became of the run that a cancel interrupted."""
    stop_token: str | None
    """Token of that run."""
    version: int
    """How many events it has."""
    trace_id: str
    """Trace of the request that created it."""
    cloned_from: JobId | None
    """The job that it was copied from."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What the journal knows of an event beside its body."""

    stream_id: str
    version: int
    at: datetime
    trace_id: str
    token: str | None = None
    """`Accepted.token` of the decision; None when a history is folded, because events do not tell tokens."""


def evolve(state: Job | None, event: AnyJobEvent, meta: Meta) -> Job:  # noqa: C901, PLR0911, PLR0912 - one case per event
    """The job after one more event.

    Raises:
        ValueError: the history is broken: it does not begin with the creation, or has two of them.
    """
    if isinstance(event, JobCreated):
        if state is not None:
            raise ValueError(f"job {state.id} was created twice")
        return _created(event, meta)
    if state is None:
        raise ValueError(f"the history of job {meta.stream_id} does not begin with its creation")
    match event:
        case JobStarted():
            return _started(state, event, meta)
        case JobReleased():
            return _released(state, event, meta)
        case JobCompleted():
            return _completed(state, event, meta)
        case JobFailed():
            return _failed(state, event, meta)
        case JobOrphaned():
            return _orphaned(state, event, meta)
        case JobRetried():
            return _retried(state, event, meta)
        case JobCancelled():
            return _cancelled(state, event, meta)
        case JobStopConfirmed():
            return replace(state, version=meta.version, stop=StopState.CONFIRMED)
        case JobFinishedAnyway():
            return replace(state, version=meta.version, stop=StopState.FINISHED_ANYWAY)
        case JobStopUnconfirmed():
            return replace(state, version=meta.version, stop=StopState.UNCONFIRMED)
        case JobForceRun():
            return replace(state, version=meta.version, run_at=event.run_at, forced=True)
        case JobRestored():
            return _restored(state, event, meta)
        case JobEdited():
            return _edited(state, event, meta)
        case JobArchived():
            return replace(state, version=meta.version)
        case _:
            assert_never(event)


def fold(history: Iterable[tuple[AnyJobEvent, Meta]]) -> Job | None:
    """The job that a history (oldest first) tells of; None for an empty one."""
    state: Job | None = None
    for event, meta in history:
        state = evolve(state, event, meta)
    return state


def _created(event: JobCreated, meta: Meta) -> Job:
    return Job(
        id=JobId(meta.stream_id),
        kind=event.kind,
        queue=event.queue,
        status=event.after,
        priority=event.priority,
        run_at=event.run_at,
        created_at=meta.at,
        max_attempts=event.max_attempts,
        timeout_ms=event.timeout_ms,
        tags=event.tags,
        unique_key=event.unique_key,
        asset=event.asset,
        payload_ref=event.payload.ref if event.payload else None,
        result_ref=None,
        error_ref=None,
        error_type=None,
        error_fingerprint=None,
        run=0,
        attempt=0,
        orphanings=0,
        forced=False,
        worker=None,
        token=None,
        lease_ms=None,
        started_at=None,
        finished_at=None,
        stop=None,
        stop_token=None,
        version=meta.version,
        trace_id=meta.trace_id,
        cloned_from=event.cloned_from,
    )


def _started(state: Job, event: JobStarted, meta: Meta) -> Job:
    return replace(
        state,
        version=meta.version,
        status=event.after,
        run=event.run,
        attempt=event.attempt,
        forced=False,
        worker=event.worker,
        token=meta.token,
        lease_ms=event.lease_ms,
        started_at=meta.at,
    )


def _released(state: Job, event: JobReleased, meta: Meta) -> Job:
    return replace(
        state,
        version=meta.version,
        status=event.after,
        attempt=event.attempt - 1,
        run_at=meta.at,
        token=meta.token,
    )


def _completed(state: Job, event: JobCompleted, meta: Meta) -> Job:
    return replace(
        state,
        version=meta.version,
        status=event.after,
        orphanings=0,
        result_ref=event.result.ref if event.result else None,
        error_ref=None,
        error_type=None,
        error_fingerprint=None,
        token=meta.token,
        finished_at=meta.at,
    )


def _failed(state: Job, event: JobFailed, meta: Meta) -> Job:
    return replace(
        state,
        version=meta.version,
        status=event.after,
        orphanings=0,
        run_at=event.retry_at or state.run_at,
        error_ref=event.error.body.ref if event.error.body else None,
        error_type=event.error.type,
        error_fingerprint=event.error.fingerprint,
        token=meta.token,
        finished_at=meta.at if event.after in FINISHED else None,
    )


def _orphaned(state: Job, event: JobOrphaned, meta: Meta) -> Job:
    orphan = replace(
        state,
        version=meta.version,
        status=event.after,
        attempt=event.attempt - 1,
        orphanings=event.orphanings,
        run_at=event.retry_at or state.run_at,
        token=meta.token,
        finished_at=meta.at if event.after in FINISHED else None,
    )
    if event.error is None:
        return orphan
    return replace(
        orphan,
        error_ref=event.error.body.ref if event.error.body else None,
        error_type=event.error.type,
        error_fingerprint=event.error.fingerprint,
    )


def _retried(state: Job, event: JobRetried, meta: Meta) -> Job:
    return replace(
        state,
        version=meta.version,
        status=event.after,
        attempt=0,
        orphanings=0,
        run_at=event.run_at,
        error_ref=None,
        error_type=None,
        error_fingerprint=None,
        finished_at=None,
    )


def _cancelled(state: Job, event: JobCancelled, meta: Meta) -> Job:
    fenced = event.run is not None
    return replace(
        state,
        version=meta.version,
        status=event.after,
        forced=False,
        token=meta.token if fenced else state.token,
        finished_at=meta.at,
        stop=StopState.PENDING if fenced else None,
        stop_token=state.token if fenced else None,
    )


def _restored(state: Job, event: JobRestored, meta: Meta) -> Job:
    return replace(
        state,
        version=meta.version,
        status=event.after,
        attempt=event.attempt,
        finished_at=None,
        stop=None,
        stop_token=None,
    )


def _edited(state: Job, event: JobEdited, meta: Meta) -> Job:
    now = event.now.model_dump(include=set(event.changed) - {"payload"})
    if "payload" in event.changed:
        now["payload_ref"] = event.now.payload
    if "run_at" in event.changed:
        now["forced"] = False  # who names a time does not want it before all others now
    return replace(state, version=meta.version, **now)
