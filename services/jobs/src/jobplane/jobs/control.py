"""What people and other services may do with a job: create, retry, cancel, force, restore, edit."""

from datetime import UTC, timedelta
from typing import Final

from jobplane.contracts.commands import CreateJob
from jobplane.contracts.job_events import JobCancelled, JobCreated, JobForceRun, JobRetried
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.jobs.decisions import AlreadyThere, Context, Decision, happens, of_job, refuse
from jobplane.jobs.job import Job

MAX_DELAY: Final = timedelta(days=3653)
"""A job may wait about ten years for its time; beyond, it is a slip (and databases end before calendars do)."""


def create(command: CreateJob, state: Job | None, context: Context) -> Decision:
    """Accept a new job, or answer with the one that holds its unique key."""
    if state is not None:
        return refuse("job_exists", state)
    if command.unique_key is not None and context.holder is not None:
        return AlreadyThere(context.holder)
    wanted = command.run_at or context.now
    if wanted > context.now + MAX_DELAY:
        return refuse("run_at_too_far")
    # A time that has passed means "at once": it must not overtake what waits already.
    run_at = max(wanted, context.now).astimezone(UTC)
    return happens(
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


def retry(state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.FAILED:
        return refuse("job_not_failed", state)
    if state.unique_key is not None and context.holder is not None and context.holder != state.id:
        return refuse("unique_key_taken", state, holder=context.holder)
    return happens(JobRetried(**of_job(state), after=JobStatus.PENDING, run_at=context.now))


def cancel(state: Job) -> Decision:
    if state.status in FINISHED:
        return refuse("job_finished", state)
    if state.status is JobStatus.RUNNING:
        return happens(JobCancelled(**of_job(state), after=JobStatus.CANCELLED, run=state.run, worker=state.worker))
    return happens(JobCancelled(**of_job(state), after=JobStatus.CANCELLED))


def force_run(state: Job, context: Context) -> Decision:
    if state.status is not JobStatus.PENDING:
        return refuse("job_not_pending", state)
    return happens(JobForceRun(**of_job(state), after=state.status, run_at=context.now))
