"""Which command is allowed when, and what it makes happen: no clock, no dice, no I/O; both arrive in `Context`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypedDict, assert_never

from pydantic import JsonValue

from jobplane.contracts.commands import CancelJob, CreateJob, ForceRunJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import (
    AnyJobEvent,
    Body,
    ErrorFact,
    JobCancelled,
    JobCompleted,
    JobCreated,
    JobFailed,
    JobFinishedAnyway,
    JobForceRun,
    JobOrphaned,
    JobReleased,
    JobRetried,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import FINISHED, JobStatus, StopState
from jobplane.jobs.fingerprint import fingerprint
from jobplane.jobs.job import Job
from jobplane.jobs.retry_policy import backoff

MAX_ORPHANINGS: Final = 3
"""So many leases that run out in a row fail the job: it probably kills its workers."""

MAX_DELAY: Final = timedelta(days=3653)
"""A job may wait about ten years for its time; beyond, it is a slip (and databases end before calendars do)."""

TIMED_OUT: Final = ErrorFact(type="timeout", fingerprint=fingerprint("timeout", "", None))
ORPHANED: Final = ErrorFact(type="orphaned", fingerprint=fingerprint("orphaned", "", None))

REFUSALS: Final[Mapping[str, str]] = {
    "job_not_found": "There is no such job: check the id, or look the job up in the list of jobs.",
    "job_exists": "A job with this id exists already: choose a new id for a new job.",
    "job_not_failed": "Only a failed job can be retried: wait until this one has failed, or create a new job.",
    "job_not_pending": "Only a pending job can be started: look at its status, it runs already or is finished.",
    "job_not_due": "The job waits for its time: wait until it is due, or force it to run now.",
    "run_at_too_far": "The time is more than ten years away: choose an earlier one, or leave it out to run at once.",
    "job_finished": "The job is finished, so there is nothing left to cancel: create or retry a job to run it again.",
    "unique_key_taken": "Another job that waits or runs holds the unique key: wait for that job, or cancel it first.",
}
"""Every code that `decide` refuses with, and what to do about it."""

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


@dataclass(frozen=True, slots=True)
class FailJob:
    """A worker reports a failure; not `retryable` means that another attempt cannot help."""

    job_id: JobId
    token: str
    error: ErrorFact
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class StopReported:
    """A worker reports how a run ended that it was told to stop."""

    job_id: JobId
    token: str
    outcome: Reported


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

AnyCommand = CreateJob | RetryJob | CancelJob | ForceRunJob | LeaseJob | Report | TimeoutJob | ExpireLease | SettleStop


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision needs of the world."""

    now: datetime
    jitter: float = 0.5
    """Rolled evenly from 0 to 1."""
    holder: JobId | None = None
    """Who holds the job's unique key now."""
    payload: Body | None = None
    """Payload of a job to create."""
    error: ErrorFact | None = None
    """Error to record when the command is a timeout or an orphaning; a bare one is used without it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """It happens: record the events, and evolve the job with `Meta.token` set to `token`."""

    events: tuple[AnyJobEvent, ...]
    token: str | None = None
    """The token that the job knows after the start or the end of a run; other events leave its token alone."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The command is not allowed now."""

    code: str
    detail: str
    facts: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """The unique key of a job to create is held by this job: answer with it."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing (more) to do: reported before, or overtaken by events."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The run is fenced: what its worker reports is not taken."""


Decision = Accepted | Rejected | AlreadyThere | Nothing | LeaseLost


def decide(command: AnyCommand, state: Job | None, context: Context) -> Decision:  # noqa: C901, PLR0911 - one case per command
    """What `command` does to a job in `state` (None: there is no such job)."""
    if isinstance(command, CreateJob):
        return _create(command, state, context)
    if state is None:
        return _refuse("job_not_found")
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
        case RetryJob():
            return _retry(state, context)
        case CancelJob():
            return _cancel(state)
        case ForceRunJob():
            return _force_run(state, context)
        case _:
            assert_never(command)


def _create(command: CreateJob, state: Job | None, context: Context) -> Decision:
    if state is not None:
        return _refuse("job_exists", state)
    if command.unique_key is not None and context.holder is not None:
        return AlreadyThere(context.holder)
    wanted = command.run_at or context.now
    if wanted > context.now + MAX_DELAY:
        return _refuse("run_at_too_far")
    # A time that has passed means "at once": it must not overtake what waits already.
    run_at = max(wanted, context.now).astimezone(UTC)
    return _happens(
        JobCreated(
            queue=command.queue,
            kind=command.kind,
            before=None,
            after=JobStatus.PENDING,
            priority=command.priority,
            run_at=run_at,
            max_attempts=command.max_attempts,
            timeout_ms=command.timeout_ms,
            tags=tuple(command.tags),
            unique_key=command.unique_key,
            asset=command.asset,
            payload=context.payload,
        )
    )


def _lease(command: LeaseJob, state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.PENDING:
        return _refuse("job_not_pending", state)
    if state.run_at > context.now and not state.forced:
        return _refuse("job_not_due", state, run_at=state.run_at.isoformat())
    started = JobStarted(
        **_job(state),
        after=JobStatus.RUNNING,
        run=state.run + 1,
        attempt=state.attempt + 1,
        worker=command.worker,
        lease_ms=command.lease_ms,
    )
    return _happens(started, token=command.token)


def _report(command: Report, state: Job, context: Context) -> Decision:
    """What a worker says of a run: the cancelled, a fenced, the last accepted, or the current one, by its token."""
    if command.token == state.stop_token:
        return _stop_reported(command, state)
    if command.token != state.token:
        return LeaseLost()
    if state.status is not JobStatus.RUNNING:
        return Nothing()
    return _run_ended(command, state, context)


def _run_ended(command: Report, state: Job, context: Context) -> Accepted:
    match command:
        case CompleteJob():
            completed = JobCompleted(**_run(state), after=JobStatus.COMPLETED, result=command.result)
            return _happens(completed, token=state.token)
        case FailJob():
            failed = _failure(state, context, command.error, retryable=command.retryable)
            return _happens(failed, token=state.token)
        case ReleaseJob():
            return _happens(JobReleased(**_run(state), after=JobStatus.PENDING, cause=command.cause))
        case StopReported():
            # Nobody cancelled this run, yet it stopped: it is unfinished, as after a release.
            return _happens(JobReleased(**_run(state), after=JobStatus.PENDING, cause="stopped"))
        case _:
            assert_never(command)


def _stop_reported(command: Report, state: Job) -> Decision:
    # A late truth is better than "unconfirmed".
    if state.stop not in {StopState.PENDING, StopState.UNCONFIRMED}:
        return Nothing()
    outcome = _outcome(command)
    if outcome in {"completed", "failed"}:
        return _happens(JobFinishedAnyway(**_run(state), after=state.status, outcome=outcome))
    return _happens(JobStopConfirmed(**_run(state), after=state.status))


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
    return _happens(_failure(state, context, context.error or TIMED_OUT, retryable=True))


def _failure(state: Job, context: Context, error: ErrorFact, *, retryable: bool) -> JobFailed:
    if retryable and state.attempt < state.max_attempts:
        retry_at = context.now + backoff(state.attempt, context.jitter)
        return JobFailed(**_run(state), after=JobStatus.PENDING, error=error, retry_at=retry_at)
    return JobFailed(**_run(state), after=JobStatus.FAILED, error=error)


def _expire(command: ExpireLease, state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.RUNNING or command.lease_ends_at > context.now:
        return Nothing()
    orphanings = state.orphanings + 1
    if orphanings >= MAX_ORPHANINGS:
        error = context.error or ORPHANED
        return _happens(JobOrphaned(**_run(state), after=JobStatus.FAILED, orphanings=orphanings, error=error))
    retry_at = context.now + backoff(orphanings, context.jitter)
    return _happens(JobOrphaned(**_run(state), after=JobStatus.PENDING, orphanings=orphanings, retry_at=retry_at))


def _settle_stop(state: Job) -> Decision:
    if state.stop is not StopState.PENDING:
        return Nothing()
    return _happens(JobStopUnconfirmed(**_run(state), after=state.status))


def _retry(state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.FAILED:
        return _refuse("job_not_failed", state)
    if state.unique_key is not None and context.holder is not None and context.holder != state.id:
        return _refuse("unique_key_taken", state, holder=context.holder)
    return _happens(JobRetried(**_job(state), after=JobStatus.PENDING, run_at=context.now))


def _cancel(state: Job) -> Decision:
    if state.status in FINISHED:
        return _refuse("job_finished", state)
    if state.status is JobStatus.RUNNING:
        return _happens(JobCancelled(**_job(state), after=JobStatus.CANCELLED, run=state.run, worker=state.worker))
    return _happens(JobCancelled(**_job(state), after=JobStatus.CANCELLED))


def _force_run(state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.PENDING:
        return _refuse("job_not_pending", state)
    return _happens(JobForceRun(**_job(state), after=state.status, run_at=context.now))


class _Job(TypedDict):
    queue: str
    kind: str
    before: JobStatus


class _Run(_Job):
    run: int
    attempt: int
    worker: str


def _job(state: Job) -> _Job:
    """What every event of the job says."""
    return {"queue": state.queue, "kind": state.kind, "before": state.status}


def _run(state: Job) -> _Run:
    """What every event of the job's latest run says (a run has a worker: its start named it)."""
    return {
        "queue": state.queue,
        "kind": state.kind,
        "before": state.status,
        "run": state.run,
        "attempt": state.attempt,
        "worker": state.worker or "",
    }


def _happens(event: AnyJobEvent, token: str | None = None) -> Accepted:
    return Accepted((event,), token)


def _refuse(code: str, state: Job | None = None, **facts: JsonValue) -> Rejected:
    status: dict[str, JsonValue] = {} if state is None else {"status": state.status.value}
    return Rejected(code, REFUSALS[code], status | facts)
