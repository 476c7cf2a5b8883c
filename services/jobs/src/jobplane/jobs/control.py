"""What people and other services may do with a job: create, retry, cancel, force, restore, edit, archive."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from jobplane.contracts.commands import CreateJob, EditJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import (
    Editable,
    JobArchived,
    JobCancelled,
    JobCreated,
    JobEdited,
    JobForceRun,
    JobRestored,
    JobRetried,
)
from jobplane.contracts.jobs import FINISHED, JobStatus, StopState
from jobplane.jobs.decisions import AlreadyThere, Context, Decision, Nothing, happens, of_job, refuse
from jobplane.jobs.job import Job


@dataclass(frozen=True, slots=True)
class ArchiveJob:
    """The job may be over for longer than such jobs are kept."""

    job_id: JobId
    retention: timedelta


MAX_DELAY: Final = timedelta(days=3653)
"""A job may wait about ten years for its time; beyond, it is a slip (and databases end before calendars do)."""


def create(command: CreateJob, state: Job | None, context: Context) -> Decision:
    """Accept a new job, or answer with the one that holds its unique key."""
    if state is not None:
        return refuse("job_exists", state)
    if context.archived:
        return refuse("job_archived")
    if command.unique_key is not None and context.holder is not None:
        return AlreadyThere(context.holder)
    wanted = command.run_at or context.now
    if wanted > context.now + MAX_DELAY:
        return refuse("run_at_too_far")
    return happens(
        JobCreated(
            queue=command.queue,
            kind=command.kind,
            before=None,
            after=JobStatus.PENDING,
            priority=command.priority,
            run_at=_not_before_now(wanted, context),
            max_attempts=command.max_attempts,
            timeout_ms=command.timeout_ms,
            tags=tuple(command.tags),
            unique_key=command.unique_key,
            asset=command.asset,
            payload=context.payload,
            cloned_from=command.cloned_from,
        )
    )


def retry(state: Job, context: Context) -> Decision:
    """Give a failed job a new set of attempts."""
    if state.status is not JobStatus.FAILED:
        return refuse("job_not_failed", state)
    if _key_is_taken(state, context):
        return refuse("unique_key_taken", state, holder=context.holder)
    # Later only if an edit said so: whatever it waited for before has passed.
    run_at = max(state.run_at, context.now)
    return happens(JobRetried(**of_job(state), after=JobStatus.PENDING, run_at=run_at))


def cancel(state: Job) -> Decision:
    """Stop a job that waits or runs."""
    if state.status in FINISHED:
        return refuse("job_finished", state)
    if state.status is JobStatus.RUNNING:
        return happens(JobCancelled(**of_job(state), after=JobStatus.CANCELLED, run=state.run, worker=state.worker))
    return happens(JobCancelled(**of_job(state), after=JobStatus.CANCELLED))


def force_run(state: Job, context: Context) -> Decision:
    """Put a waiting job before all others."""
    if state.status is not JobStatus.PENDING:
        return refuse("job_not_pending", state)
    return happens(JobForceRun(**of_job(state), after=state.status, run_at=context.now))


def restore(state: Job, context: Context) -> Decision:
    """Take a cancel back."""
    if state.status is not JobStatus.CANCELLED:
        return refuse("job_not_cancelled", state)
    if state.stop is StopState.PENDING:
        return refuse("stop_pending", state)
    if _key_is_taken(state, context):
        return refuse("unique_key_taken", state, holder=context.holder)
    # The run that was cut off did not fail, so it does not count; and there is an attempt left for certain.
    attempt = state.attempt if state.stop is None else state.attempt - 1
    return happens(JobRestored(**of_job(state), after=JobStatus.PENDING, attempt=attempt))


def edit(command: EditJob, state: Job, context: Context) -> Decision:
    """Change what a job is to do, where, when or how often."""
    if state.status not in {JobStatus.PENDING, JobStatus.FAILED}:
        return refuse("job_not_editable", state)
    if command.run_at is not None and command.run_at > context.now + MAX_DELAY:
        return refuse("run_at_too_far", state)
    used = state.attempt + (state.status is JobStatus.PENDING)
    if command.max_attempts is not None and command.max_attempts < used:
        return refuse("max_attempts_too_low", state, attempt=state.attempt, at_least=used)
    was, now = _changes(command, state, context)
    if not now:
        return refuse("nothing_to_change", state)
    job = of_job(state) | {"queue": command.queue or state.queue}
    changed, payload = tuple(now), context.payload if command.payload is not None else None
    return happens(
        JobEdited(**job, after=state.status, changed=changed, was=Editable(**was), now=Editable(**now), payload=payload)
    )


def archive(command: ArchiveJob, state: Job, context: Context) -> Decision:
    """Let go of a job that was over for long enough; not while it is open what became of its run."""
    if state.finished_at is None or state.stop is StopState.PENDING:
        return Nothing()
    if state.finished_at + command.retention > context.now:
        return Nothing()
    return happens(JobArchived(**of_job(state), after=state.status))


def _changes(command: EditJob, state: Job, context: Context) -> tuple[dict[str, Any], dict[str, Any]]:
    """What would be otherwise than it is: the values before and after, by field."""
    wanted: dict[str, Any] = {
        "queue": command.queue,
        "priority": command.priority,
        "max_attempts": command.max_attempts,
    }
    if command.run_at is not None and command.run_at != state.run_at:
        wanted["run_at"] = _not_before_now(command.run_at, context)
    was = {name: getattr(state, name) for name, value in wanted.items() if value not in {None, getattr(state, name)}}
    now = {name: wanted[name] for name in was}
    new_ref = context.payload.ref if context.payload else None
    if command.payload is not None and (new_ref is not None or state.payload_ref is not None):
        was, now = {"payload": state.payload_ref, **was}, {"payload": new_ref, **now}
    return was, now


def _not_before_now(wanted: datetime, context: Context) -> datetime:
    """A time that has passed means "at once": it must not overtake what waits already."""
    return max(wanted, context.now).astimezone(UTC)


def _key_is_taken(state: Job, context: Context) -> bool:
    return state.unique_key is not None and context.holder is not None and context.holder != state.id
