"""The runs of workers: leases, reports, time limits, leases that run out, and what became of a cancelled run."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never

from jobplane.contracts import instants
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import (
    Body,
    ErrorFact,
    JobCompleted,
    JobFailed,
    JobFinishedAnyway,
    JobOrphaned,
    JobReleased,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import JobStatus, StopState
from jobplane.jobs.decisions import (
    Accepted,
    Context,
    Decision,
    LeaseLost,
    Nothing,
    happens,
    of_job,
    of_run,
    refuse,
)
from jobplane.jobs.fingerprint import fingerprint
from jobplane.jobs.job import Job
from jobplane.jobs.retry_policy import backoff

MAX_ORPHANINGS: Final = 3
"""So many leases that run out in a row fail the job: it probably kills its workers."""

TIMED_OUT: Final = ErrorFact(type="timeout", fingerprint=fingerprint("timeout", "", None))
ORPHANED: Final = ErrorFact(type="orphaned", fingerprint=fingerprint("orphaned", "", None))

Reported = Literal["cancelled", "completed", "failed", "released"]


@dataclass(frozen=True, slots=True)
class LeaseJob:
    """A worker takes the job; `token` is fresh."""

    job_id: JobId
    worker: str
    token: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class ReleaseJob:
    """A worker gives its run back unfinished, or forgot it; `cause` as in `JobReleased`."""

    job_id: JobId
    token: str
    cause: str


@dataclass(frozen=True, slots=True)
class CompleteJob:
    """A worker reports success; no `result` means null."""

    job_id: JobId
    token: str
    result: Body | None = None
    heard_at: datetime | None = None
    """When the worker heard that the job is cancelled, by its own clock; so in the next two."""


@dataclass(frozen=True, slots=True)
class FailJob:
    """A worker reports a failure; not `retryable` means that another attempt cannot help."""

    job_id: JobId
    token: str
    error: ErrorFact
    retryable: bool = True
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StopReported:
    """A worker reports how a run ended that it was told to stop."""

    job_id: JobId
    token: str
    outcome: Reported
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TimeoutJob:
    """The run takes longer than the job allows."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class ExpireLease:
    """The lease ran out; `lease_ends_at` is what the locked row says."""

    job_id: JobId
    lease_ends_at: datetime


@dataclass(frozen=True, slots=True)
class SettleStop:
    """Nobody told for a whole lease what became of the cancelled run."""

    job_id: JobId


Report = CompleteJob | FailJob | ReleaseJob | StopReported
"""What a worker says of one of its runs."""

AnyRunCommand = LeaseJob | Report | TimeoutJob | ExpireLease | SettleStop


def decide(command: AnyRunCommand, state: Job, context: Context) -> Decision:
    """What `command` does to the runs of a job."""
    match command:
        case LeaseJob():
            return _lease(command, state, context)
        case CompleteJob() | FailJob() | ReleaseJob() | StopReported():
            return _report(command, state, context)
        case TimeoutJob():
            return _time_out(state, context)
        case ExpireLease():
            return _expire(command, state, context)
        case SettleStop():
            return _settle_stop(state)
        case _:
            assert_never(command)


def _lease(command: LeaseJob, state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.PENDING:
        return refuse("job_not_pending", state)
    if state.run_at > context.now and not state.forced:
        return refuse("job_not_due", state, run_at=instants.written(state.run_at))
    started = JobStarted(
        **of_job(state),
        after=JobStatus.RUNNING,
        run=state.run + 1,
        attempt=state.attempt + 1,
        worker=command.worker,
        lease_ms=command.lease_ms,
    )
    return happens(started, token=command.token)


def _report(command: Report, state: Job, context: Context) -> Decision:
    """What a worker says of a run: the cancelled, a fenced, the last accepted, or the current one, by its token."""
    if command.token == state.stop_token:
        return _stop_reported(command, state, context)
    if command.token != state.token:
        return LeaseLost()
    if state.status is not JobStatus.RUNNING:
        return Nothing()
    return _run_ended(command, state, context)


def _run_ended(command: Report, state: Job, context: Context) -> Accepted:
    match command:
        case CompleteJob():
            completed = JobCompleted(**of_run(state), after=JobStatus.COMPLETED, result=command.result)
            return happens(completed, token=state.token)
        case FailJob():
            failed = _failure(state, context, command.error, retryable=command.retryable)
            return happens(failed, token=state.token)
        case ReleaseJob():
            return happens(JobReleased(**of_run(state), after=JobStatus.PENDING, cause=command.cause))
        case StopReported():
            # Nobody cancelled this run, yet it stopped: it is unfinished, as after a release.
            return happens(JobReleased(**of_run(state), after=JobStatus.PENDING, cause="stopped"))
        case _:
            assert_never(command)


def _stop_reported(command: Report, state: Job, context: Context) -> Decision:
    # A late truth is better than "unconfirmed".
    if state.stop not in {StopState.PENDING, StopState.UNCONFIRMED}:
        return Nothing()
    outcome, signalled_at = _outcome(command), _heard(command, context)
    if outcome in {"completed", "failed"}:
        finished = JobFinishedAnyway(**of_run(state), after=state.status, outcome=outcome, signalled_at=signalled_at)
        return happens(finished)
    return happens(JobStopConfirmed(**of_run(state), after=state.status, signalled_at=signalled_at))


def _heard(command: Report, context: Context) -> datetime | None:
    """When the worker heard of the cancel; a clock that is ahead of ours does not put it into the future."""
    heard_at = None if isinstance(command, ReleaseJob) else command.heard_at
    return heard_at and min(heard_at, context.now)


def _outcome(command: Report) -> Reported:
    match command:
        case CompleteJob():
            return "completed"
        case FailJob():
            return "failed"
        case ReleaseJob():
            return "released"
        case StopReported():
            return command.outcome
        case _:
            assert_never(command)


def _time_out(state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.RUNNING or state.timeout_ms is None or state.started_at is None:
        return Nothing()
    if context.now < state.started_at + timedelta(milliseconds=state.timeout_ms):
        return Nothing()
    # No token: a late report of this run was not accepted, so it must not be answered as if it were.
    return happens(_failure(state, context, context.error or TIMED_OUT, retryable=True))


def _failure(state: Job, context: Context, error: ErrorFact, *, retryable: bool) -> JobFailed:
    if retryable and state.attempt < state.max_attempts:
        retry_at = context.now + backoff(state.attempt, context.jitter)
        return JobFailed(**of_run(state), after=JobStatus.PENDING, error=error, retry_at=retry_at)
    return JobFailed(**of_run(state), after=JobStatus.FAILED, error=error)


def _expire(command: ExpireLease, state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.RUNNING or command.lease_ends_at > context.now:
        return Nothing()
    orphanings = state.orphanings + 1
    if orphanings >= MAX_ORPHANINGS:
        error = context.error or ORPHANED
        return happens(JobOrphaned(**of_run(state), after=JobStatus.FAILED, orphanings=orphanings, error=error))
    retry_at = context.now + backoff(orphanings, context.jitter)
    return happens(JobOrphaned(**of_run(state), after=JobStatus.PENDING, orphanings=orphanings, retry_at=retry_at))


def _settle_stop(state: Job) -> Decision:
    if state.stop is not StopState.PENDING:
        return Nothing()
    return happens(JobStopUnconfirmed(**of_run(state), after=state.status))
