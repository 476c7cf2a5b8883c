"""The events of a job: what happened, in the past tense; additive within a version, a new major version is a new type.

Bodies that may hold secrets or personal data are not here: an event carries `{ref, digest}` of the owner's erasable
body.
"""

from datetime import datetime
from typing import ClassVar, Final

from pydantic import Field

from jobplane.contracts.ids import BodyRef, JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.message import Fact


class Body(Fact):
    """A reference to an erasable body."""

    ref: BodyRef
    """Its key in the owner's table."""
    digest: str
    """SHA-256 (hex) over the body's salt followed by its JSON text."""


class ErrorFact(Fact):
    """What an event says of a failure; message and stack are in the body."""

    type: str
    """Name of the exception, or ``timeout`` / ``orphaned``."""
    fingerprint: str
    """Failures with the same cause share it: 16 hexadecimal digits."""
    body: Body | None = None
    """`{"message", "stack"}`."""


class JobEvent(Fact):
    """What every event of a job says."""

    TYPE: ClassVar[str]
    queue: str
    """The job's queue, by which its events are routed."""
    kind: str
    """The job's kind."""
    before: JobStatus | None = None
    """Status before; none for the creation."""
    after: JobStatus
    """Status after."""


class JobCreated(JobEvent):
    """A job was accepted."""

    TYPE = "job.created.v1"
    priority: int
    run_at: datetime
    max_attempts: int
    timeout_ms: int | None = None
    tags: tuple[str, ...] = ()
    unique_key: str | None = None
    asset: str | None = None
    payload: Body | None = None
    """None: an empty payload."""
    cloned_from: JobId | None = None


class RunEvent(JobEvent):
    """An event of one run."""

    run: int
    """Number of the run; never resets."""
    attempt: int
    """Number of the attempt it was, or is."""
    worker: str
    """Who runs or ran it."""


class JobStarted(RunEvent):
    """A worker leased the job; the fencing token stays in the journal's owner and is not told here."""

    TYPE = "job.started.v1"
    lease_ms: int


class JobReleased(RunEvent):
    """A worker gave the job back unfinished; the attempt does not count."""

    TYPE = "job.released.v1"
    cause: str
    """``drained``, ``forgotten`` (two successive beats did not mention it) or ``stopped`` (nobody cancelled it)."""


class JobCompleted(RunEvent):
    """A run succeeded."""

    TYPE = "job.completed.v1"
    result: Body | None = None
    """None: the result was null."""


class JobFailed(RunEvent):
    """A run failed; with attempts left the job is PENDING again until `retry_at`."""

    TYPE = "job.failed.v1"
    error: ErrorFact
    retry_at: datetime | None = None


class JobOrphaned(RunEvent):
    """The lease ran out: the worker is dead or cut off. The attempt does not count; three orphanings fail the job."""

    TYPE = "job.orphaned.v1"
    orphanings: int
    error: ErrorFact | None = None
    """Set when the job is FAILED by it."""
    retry_at: datetime | None = None


class JobRetried(JobEvent):
    """An admin gave a failed job a new set of attempts."""

    TYPE = "job.retried.v1"
    run_at: datetime


class JobCancelled(JobEvent):
    """An admin stopped the job; for a running one, a stop outcome follows."""

    TYPE = "job.cancelled.v1"
    run: int | None = None
    """The run that was fenced, if one was."""
    worker: str | None = None


class JobStopConfirmed(RunEvent):
    """The worker stopped the cancelled run."""

    TYPE = "job.stop_confirmed.v1"
    signalled_at: datetime | None = None
    """When the worker heard of the cancel, by its own clock; none if it did not tell."""


class JobFinishedAnyway(RunEvent):
    """The cancelled run finished its work: it had not heard of the cancel yet, or did not heed it."""

    TYPE = "job.finished_anyway.v1"
    outcome: str
    """``completed`` or ``failed``, as the worker reported it."""
    signalled_at: datetime | None = None
    """When the worker heard of the cancel, by its own clock; none if its run had ended before."""


class JobStopUnconfirmed(RunEvent):
    """Nobody heard of the cancelled run for a whole lease."""

    TYPE = "job.stop_unconfirmed.v1"


class JobForceRun(JobEvent):
    """An admin made the job due now, before all priorities."""

    TYPE = "job.force_run.v1"
    run_at: datetime


class JobRestored(JobEvent):
    """An admin took the cancel back; the job keeps its time, its cancelled run stays fenced."""

    TYPE = "job.restored.v1"
    attempt: int
    """Counted runs since the last reset: the run that the cancel cut off does not count, as after a release."""


class Editable(Fact):
    """What an edit may change; only what it did change is set."""

    payload: BodyRef | None = None
    """Reference of the body; none also for an empty payload."""
    queue: str | None = None
    priority: int | None = None
    run_at: datetime | None = None
    max_attempts: int | None = None


class JobEdited(JobEvent):
    """An admin changed what the job is to do, where, when or how often; `queue` is the new one."""

    TYPE = "job.edited.v1"
    changed: tuple[str, ...]
    """Names of the fields in `was` and `now` that differ; a payload that was given counts as changed."""
    was: Editable
    now: Editable
    payload: Body | None = None
    """The new payload, if it changed; none: an empty one."""


class JobArchived(JobEvent):
    """The job was over for as long as such jobs are kept: its row is gone, its events and bodies stay."""

    TYPE = "job.archived.v1"


class CommandRefused(Fact):
    """A command was refused (a stream of the command's own)."""

    TYPE: ClassVar[str] = "command.refused.v1"
    command: str
    """The verb."""
    code: str
    """Why."""
    target_type: str = "job"
    target_id: str | None = None
    """What it was about."""
    status: str | None = None
    """The target's status then."""
    count: int = Field(default=1, ge=1)
    """How many like it within the minute this stands for: after 20, one event sums up the rest."""


AnyJobEvent = (
    JobCreated
    | JobStarted
    | JobReleased
    | JobCompleted
    | JobFailed
    | JobOrphaned
    | JobRetried
    | JobCancelled
    | JobStopConfirmed
    | JobFinishedAnyway
    | JobStopUnconfirmed
    | JobForceRun
    | JobRestored
    | JobEdited
    | JobArchived
)

JOB_EVENTS: Final[dict[str, type[AnyJobEvent]]] = {
    event.TYPE: event
    for event in (
        JobCreated,
        JobStarted,
        JobReleased,
        JobCompleted,
        JobFailed,
        JobOrphaned,
        JobRetried,
        JobCancelled,
        JobStopConfirmed,
        JobFinishedAnyway,
        JobStopUnconfirmed,
        JobForceRun,
        JobRestored,
        JobEdited,
        JobArchived,
    )
}
"""Every event of a job, by its type."""
