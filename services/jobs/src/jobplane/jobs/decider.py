"""Which command is allowed when, and what it makes happen: no clock, no dice, no I/O; both arrive in `Context`.

What people may do is decided in `control`, what happens to runs in `runs`.
"""

from jobplane.contracts.commands import AnyJobCommand, CancelJob, CreateJob, EditJob, ForceRunJob, RestoreJob, RetryJob
from jobplane.jobs import control, runs
from jobplane.jobs.control import ArchiveJob
from jobplane.jobs.decisions import (
    REFUSALS,
    Accepted,
    AlreadyThere,
    Context,
    Decision,
    LeaseLost,
    Nothing,
    Rejected,
    refuse,
)
from jobplane.jobs.job import Job
from jobplane.jobs.runs import (
    MAX_ORPHANINGS,
    TIMED_OUT,
    AnyRunCommand,
    CompleteJob,
    ExpireLease,
    FailJob,
    LeaseJob,
    ReleaseJob,
    Report,
    SettleStop,
    StopReported,
    TimeoutJob,
)

__all__ = [
    "MAX_ORPHANINGS",
    "REFUSALS",
    "TIMED_OUT",
    "Accepted",
    "AlreadyThere",
    "AnyCommand",
    "ArchiveJob",
    "CompleteJob",
    "Context",
    "Decision",
    "ExpireLease",
    "FailJob",
    "LeaseJob",
    "LeaseLost",
    "Nothing",
    "Rejected",
    "ReleaseJob",
    "Report",
    "SettleStop",
    "StopReported",
    "TimeoutJob",
    "decide",
]

AnyCommand = AnyJobCommand | AnyRunCommand | ArchiveJob


def decide(command: AnyCommand, state: Job | None, context: Context) -> Decision:  # noqa: PLR0911 - one case per command
    """What `command` does to a job in `state` (None: there is no such job)."""
    if isinstance(command, CreateJob):
        return control.create(command, state, context)
    if state is None:
        return refuse("job_not_found")
    match command:
        case RetryJob():
            return control.retry(state, context)
        case CancelJob():
            return control.cancel(state)
        case ForceRunJob():
            return control.force_run(state, context)
        case RestoreJob():
            return control.restore(state, context)
        case EditJob():
            return control.edit(command, state, context)
        case ArchiveJob():
            return control.archive(command, state, context)
        case _:
            return runs.decide(command, state, context)
