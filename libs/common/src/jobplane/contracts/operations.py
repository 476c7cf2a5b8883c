"""Bulk operations: what can be asked of them, what happened to them, and how everybody sees them."""

from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, Field, JsonValue

from jobplane.contracts.actors import Actor
from jobplane.contracts.ids import JobId, Position, Uuid
from jobplane.contracts.message import Fact, Message
from jobplane.contracts.subjects import QUEUE_PATTERN

MOST_IDS: Final = 18_000
"""As many ids as fit into one message; whoever wants more names a filter."""
MAX_RATE: Final = 100_000


class BulkAction(StrEnum):
    """What is done to each job, as the command of the same name does it to one."""

    RETRY = "retry"
    CANCEL = "cancel"
    RUN = "run"
    RESTORE = "restore"
    EDIT = "edit"


class OperationStatus(StrEnum):
    """Where an operation stands."""

    PLANNING = "planning"
    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


ENDED: Final = frozenset({OperationStatus.DONE, OperationStatus.STOPPED, OperationStatus.FAILED})


class BulkEdit(Message):
    """What an edit of many jobs may change; what is left out stays as it is."""

    queue: str | None = Field(default=None, pattern=QUEUE_PATTERN)
    """Where workers look for them."""
    priority: int | None = Field(default=None, ge=-1000, le=1000)
    """Higher runs first."""
    run_at: AwareDatetime | None = None
    """Not before this instant; one that has passed means at once."""
    max_attempts: int | None = Field(default=None, ge=1, le=100)
    """How many attempts each may take, those it has taken included."""


class OperationCommand(Message):
    """Asks something of one operation."""

    TARGET: ClassVar[str] = "operation"
    operation_id: Uuid
    """Its id; of a new one chosen by the issuer: UUIDv7."""

    @property
    def target(self) -> str:
        """What it is about."""
        return self.operation_id


class PlanOperation(OperationCommand):
    """Note which jobs something is to be done to, and perhaps do it as soon as they are noted."""

    type: Literal["plan_operation"] = "plan_operation"
    action: BulkAction
    """What to do to each of them."""
    ids: list[JobId] | None = Field(default=None, min_length=1, max_length=MOST_IDS)
    """These jobs, or …"""
    filter: dict[str, JsonValue] | None = None
    """… those that fit this filter when the plan is made."""
    edit: BulkEdit | None = None
    """What to change, if that is the action."""
    rate: float | None = Field(default=None, ge=0.1, le=MAX_RATE)
    """At most so many jobs a second."""
    then_run: bool = False
    """Run it as soon as it is planned."""


class UndoOperation(OperationCommand):
    """Make a new operation that takes back what another one did; `operation_id` is the new one's."""

    type: Literal["undo_operation"] = "undo_operation"
    undo_of: Uuid
    """The operation to take back."""
    rate: float | None = Field(default=None, ge=0.1, le=MAX_RATE)
    """At most so many jobs a second."""
    then_run: bool = False
    """Run it as soon as it is planned."""


class RunOperation(OperationCommand):
    """Carry a plan out."""

    type: Literal["run_operation"] = "run_operation"
    max_drift: int | None = Field(default=None, ge=0)
    """Refuse if more jobs than this came to fit the filter, or ceased to, since it was planned."""
    action: BulkAction | None = None
    """Refuse unless this is what was planned."""


class PauseOperation(OperationCommand):
    """Touch no further job for the time being."""

    type: Literal["pause_operation"] = "pause_operation"


class ResumeOperation(OperationCommand):
    """Go on where it was paused."""

    type: Literal["resume_operation"] = "resume_operation"


class StopOperation(OperationCommand):
    """Touch no further job for ever; what is done stays done."""

    type: Literal["stop_operation"] = "stop_operation"


AnyOperationCommand = PlanOperation | UndoOperation | RunOperation | PauseOperation | ResumeOperation | StopOperation


class OperationEvent(Fact):
    """What every event of an operation says."""

    TYPE: ClassVar[str]
    action: BulkAction
    """What it does to each job."""


class OperationRequested(OperationEvent):
    """Somebody wants something done to many jobs."""

    TYPE = "operation.requested.v1"
    jobs: int | None = None
    """How many were named; none: a filter says which."""
    filter: dict[str, JsonValue] | None = None
    edit: BulkEdit | None = None
    rate: float | None = None
    then_run: bool = False
    undo_of: Uuid | None = None


class OperationPlanned(OperationEvent):
    """It is settled which jobs it is about."""

    TYPE = "operation.planned.v1"
    total: int
    """How many jobs."""
    as_of: Position
    """The journal position that the selection is true for."""
    skipping: dict[str, int] = Field(default_factory=dict)
    """How many of them nothing could be done to then, by code."""


class OperationStarted(OperationEvent):
    """It begins to change jobs."""

    TYPE = "operation.started.v1"
    total: int
    added: int | None = None
    """How many jobs came to fit the filter since it was planned; they are not touched. None: there is no filter."""
    gone: int | None = None
    """How many ceased to fit it; they are tried all the same."""


class OperationPaused(OperationEvent):
    """No further job is touched for the time being."""

    TYPE = "operation.paused.v1"


class OperationResumed(OperationEvent):
    """It goes on."""

    TYPE = "operation.resumed.v1"


class OperationStopped(OperationEvent):
    """It was ended early; what is done stays done."""

    TYPE = "operation.stopped.v1"
    done: int
    skipped: dict[str, int] = Field(default_factory=dict)


class OperationFinished(OperationEvent):
    """Every job of it was looked at."""

    TYPE = "operation.finished.v1"
    done: int
    """How many jobs it changed."""
    skipped: dict[str, int] = Field(default_factory=dict)
    """How many it could not change, by code."""


class OperationFailed(OperationEvent):
    """It could not be planned."""

    TYPE = "operation.failed.v1"
    code: str
    detail: str


class JobsChanged(OperationEvent):
    """It changed some jobs of one shard, all in the same way; `expansion.expand` gives the event of each."""

    TYPE = "operation.jobs_changed.v1"
    type: str
    """The type of each job's event, e.g. ``job.retried.v1``."""
    shared: dict[str, JsonValue]
    """What the events of all of them say …"""
    items: list[dict[str, Any]]
    """… and what each says: `job` and `version`, which become its subject and its version, and the rest of its body."""


AnyOperationEvent = (
    OperationRequested
    | OperationPlanned
    | OperationStarted
    | OperationPaused
    | OperationResumed
    | OperationStopped
    | OperationFinished
    | OperationFailed
)
"""What happens to an operation itself."""

OPERATION_EVENTS: Final[dict[str, type[AnyOperationEvent]]] = {
    event.TYPE: event
    for event in (
        OperationRequested,
        OperationPlanned,
        OperationStarted,
        OperationPaused,
        OperationResumed,
        OperationStopped,
        OperationFinished,
        OperationFailed,
    )
}
"""By type."""


class Breakdown(Fact):
    """What the planned jobs are, as of the plan: how many there are of each, the most frequent ones first."""

    status: dict[str, int] = Field(default_factory=dict)
    queue: dict[str, int] = Field(default_factory=dict)
    kind: dict[str, int] = Field(default_factory=dict)
    error: dict[str, int] = Field(default_factory=dict)
    """By fingerprint of the error."""
    error_types: dict[str, str] = Field(default_factory=dict)
    """What kind of error each fingerprint of `error` stands for, where something failed so within 90 days."""


class Drift(Fact):
    """How the set of jobs that fit the filter had changed when the plan was run."""

    added: int
    """They fit now and were not planned; they are not touched."""
    gone: int
    """They were planned and do not fit any more; they are tried all the same."""


class UndoView(Fact):
    """What could be taken back of an operation."""

    action: BulkAction | None
    """What would be done to each job; none: nothing can be taken back."""
    possible: int
    """How many jobs it changed that can be put back now."""
    impossible: int
    """How many it changed that cannot."""
    codes: dict[str, int] = Field(default_factory=dict)
    """The same by the reason, as an undo would skip them now."""
    estimated: bool = False
    """So many jobs were changed that only some were looked at; a dry run of the undo counts each."""
    by: Uuid | None = None
    """The operation that took it back, or is about to."""
    why: str
    """What stands in the way, or what taking it back means."""


class OperationView(Fact):
    """A bulk operation as the REST API shows it."""

    id: Uuid
    """UUIDv7: ids sort by time. Also the token of its plan."""
    action: BulkAction
    """What it does to each job."""
    status: OperationStatus
    """Where it stands."""
    actor: Actor
    """Who asked for it."""
    actor_name: str | None = None
    """Their name, filled by the gateway from its accounts; none once erased."""
    reason: str | None = None
    """Why, in their words."""
    filter: dict[str, JsonValue] | None = None
    """Which jobs; none: they were named."""
    edit: BulkEdit | None = None
    """What it changes."""
    rate: float | None = None
    """At most so many jobs a second."""
    then_run: bool = False
    """Whether it runs as soon as it is planned."""
    undo_of: Uuid | None = None
    """The operation that it takes back."""
    requested_at: datetime
    """When it was asked for."""
    planned_at: datetime | None = None
    """When its jobs were settled."""
    started_at: datetime | None = None
    """When it began to change them."""
    ended_at: datetime | None = None
    """When it was done, stopped or failed."""
    expires_at: datetime | None = None
    """Until when the plan may be run."""
    as_of: Position | None = None
    """The journal position that the selection is true for."""
    total: int | None = None
    """How many jobs; none until it is planned."""
    done: int = 0
    """How many it has changed."""
    skipped: int = 0
    """How many it could not change."""
    codes: dict[str, int] = Field(default_factory=dict)
    """The same by the reason."""
    skipping: dict[str, int] = Field(default_factory=dict)
    """How many nothing could have been done to when it was planned, by the reason."""
    breakdown: Breakdown | None = None
    """What the jobs were when it was planned."""
    sample: list[JobId] = Field(default_factory=list)
    """Some of them."""
    drift: Drift | None = None
    """How the set had changed when it was run."""
    code: str | None = None
    """Why it failed, or does not run."""
    detail: str | None = None
    """The same for people."""
    undo: UndoView | None = None
    """What could be taken back; told only when one operation is asked for that has ended or is paused."""


class OperationPage(Fact):
    """Some operations, newest first; without breakdown, sample and undo."""

    items: list[OperationView]
    """The operations."""
    next_cursor: str | None = None
    """For the next page; none on the last."""


ItemOutcome = Literal["waiting", "done", "skipped"]


class OperationItem(Fact):
    """What became of one job of an operation."""

    n: int
    """Its place in the order of the operation, from 1."""
    job_id: JobId
    """The job."""
    outcome: ItemOutcome
    """`waiting` until it is its turn."""
    code: str | None = None
    """Why it was skipped."""
    version: int | None = None
    """The job's version after the change."""
    position: Position | None = None
    """The event that tells of the change."""


class OperationItems(Fact):
    """Some items, in the order of the operation."""

    items: list[OperationItem]
    """The items."""
    next_cursor: str | None = None
    """For the next page; none on the last."""
