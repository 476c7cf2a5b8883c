"""Jobs as everybody sees them: status, the view, the list, the history, the counts."""

from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field, JsonValue

from jobplane.contracts.actors import Actor
from jobplane.contracts.ids import CommandId, JobId, Position, Uuid
from jobplane.contracts.message import Fact

MAX_PAYLOAD_BYTES: Final = 256 * 1024
MAX_RESULT_BYTES: Final = 256 * 1024
MAX_STACK_CHARS: Final = 32 * 1024
MAX_MESSAGE_CHARS: Final = 4 * 1024


class JobStatus(StrEnum):
    """Where a job stands; PENDING with `run_at` in the future waits for its time or its next attempt."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


FINISHED: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class StopState(StrEnum):
    """What became of the run that a cancel interrupted."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    FINISHED_ANYWAY = "finished_anyway"
    UNCONFIRMED = "unconfirmed"


class Stopping(Fact):
    """How the stop of a cancelled run went."""

    requested_at: datetime
    """When the job was cancelled: the run was fenced at that instant, and a signal sent to its worker right after."""
    signalled_at: datetime | None = None
    """When the worker heard of it, as it told with the outcome; none before that, or if it never heard."""
    outcome: StopState
    """What is known of it."""
    settled_at: datetime | None = None
    """When that became known; none while it is `pending`."""


class JobErrorView(Fact):
    """Why the last run failed."""

    type: str
    """Name of the exception or a word of the platform (``timeout``, ``orphaned``)."""
    message: str = ""
    """What it said, at most 4,096 characters."""
    stack: str | None = None
    """The stack, at most 32 KiB; not in lists."""
    fingerprint: str
    """16 hexadecimal digits: failures with the same cause share it."""


class JobView(Fact):
    """A job, as the REST API shows it; lists leave out payload, result and error.stack."""

    id: JobId
    """UUIDv7: ids sort by creation."""
    kind: str
    """What the job does; a worker has one handler per kind."""
    queue: str
    """Where workers look for it."""
    status: JobStatus
    """Where it stands."""
    priority: int
    """Higher runs first; 0 is ordinary."""
    run: int
    """How many runs were ever started; never resets."""
    attempt: int
    """How many counted runs were started since the last reset."""
    max_attempts: int
    """How many attempts it may take before it is FAILED."""
    run_at: datetime
    """Not started before this instant."""
    created_at: datetime
    """When it was accepted."""
    started_at: datetime | None = None
    """When its latest run started."""
    finished_at: datetime | None = None
    """When it was completed, failed or cancelled."""
    version: int
    """Counts its events; the ETag."""
    position: Position
    """Position of its latest event."""
    payload: dict[str, JsonValue] | None = None
    """What the worker gets; in the detail null if it was erased."""
    result: JsonValue = None
    """What the worker answered."""
    error: JobErrorView | None = None
    """Why the latest run failed."""
    tags: list[str] = Field(default_factory=list)
    """Words to find it by."""
    unique_key: str | None = None
    """At most one PENDING or RUNNING job of a kind has it."""
    progress: float | None = None
    """How far the run is, 0 to 1, where the worker tells."""
    worker: str | None = None
    """Who runs it, or ran it last."""
    asset: str | None = None
    """The uploaded file it works on."""
    cloned_from: JobId | None = None
    """The job that it was copied from."""
    trace_id: str
    """W3C trace of the request that created it."""
    timeout_s: float | None = None
    """How long one run may take, in seconds."""
    forced: bool = False
    """Whether an admin put it before all priorities."""
    stop: StopState | None = None
    """After the cancel of a running job: what became of that run."""
    archived_at: datetime | None = None
    """When it was archived: it is told from its events then, and nothing can be done with it but to copy it."""
    stopping: Stopping | None = None
    """The same with its times; only in the detail."""


class JobPage(Fact):
    """One page of a list, newest first unless another order was asked for."""

    items: list[JobView]
    """Without payload, result and error.stack."""
    next_cursor: str | None = None
    """Give it back as `cursor` for the next page; none on the last page."""
    indexed_to: Position | None = None
    """Where the index of the search was asked: the position up to which it knows the journal."""
    behind: int | None = None
    """How many events come after that: what they brought may not be found yet."""


class CountRelation(StrEnum):
    """How a count is meant."""

    EXACT = "exact"
    ESTIMATE = "estimate"
    """About so many, by the statistics of the database: there are more than anybody would wait for to be counted."""


class JobCount(Fact):
    """How many jobs match."""

    count: int
    """How many; whether exactly so many says `relation`."""
    relation: CountRelation
    """How the count is meant."""
    at_least: int | None = None
    """With an estimate: there are more than so many, which were counted one by one."""
    indexed_to: Position | None = None
    """As in a page."""
    behind: int | None = None
    """As in a page."""


class Change(Fact):
    """One thing of a job that is otherwise than before; a body that was erased reads ``{"erased": true}``."""

    field: str
    """Its name, as in the job."""
    before: JsonValue = None
    """None for the creation."""
    after: JsonValue = None


class HistoryItem(Fact):
    """One event of a job, oldest first in a history."""

    position: Position
    """Position in the journal."""
    version: int
    """The job's version after it."""
    type: str
    """Event type, e.g. ``job.retried.v1``."""
    at: datetime
    """When it was recorded."""
    actor: Actor
    """Who caused it."""
    actor_name: str | None = None
    """Their name, filled by the gateway from its accounts; none once erased."""
    reason: str | None
    """Why, in the actor's words."""
    command_id: CommandId | None
    """The command that caused it."""
    operation_id: Uuid | None = None
    """The bulk operation that did it, if it was one."""
    trace_id: str
    """W3C trace."""
    before: JobStatus | None
    """Status before it; none for the creation."""
    after: JobStatus
    """Status after it."""
    data: dict[str, JsonValue] = Field(default_factory=dict)
    """What else the event says (run.

    Attempt, worker, error, retry_at, …), bodies included where the owner still has them.
    """
    changes: list[Change] = Field(default_factory=list)
    """What it changed of the job, found by folding its events."""


class History(Fact):
    """All events of a job."""

    items: list[HistoryItem]
    """Oldest first."""
    next_cursor: str | None = None
    """For the next page; none on the last."""


class Attempt(Fact):
    """One run of a job; a retry never erases those before it."""

    run: int
    """Its number; never resets."""
    attempt: int
    """Which attempt it was, since the last reset."""
    worker: str
    """Who ran it."""
    started_at: datetime
    """When its worker got it."""
    ended_at: datetime | None = None
    """When it ended for the job; none while it goes on."""
    outcome: Literal["running", "completed", "failed", "released", "orphaned", "cancelled"]
    """How it ended; what became of a cancelled one is in `stop`."""
    error: JobErrorView | None = None
    """Why it failed, without the stack."""
    stop: StopState | None = None
    """After its cancel: what is known of it."""
    stop_signalled_at: datetime | None = None
    """When the worker heard of the cancel, as it told with the outcome."""
    stop_settled_at: datetime | None = None
    """When that became known."""


class Attempts(Fact):
    """The runs of a job."""

    items: list[Attempt]
    """Oldest first."""
    next_cursor: str | None = None
    """For the next page; none on the last."""


class QueueStats(Fact):
    """One queue's numbers."""

    queue: str
    """Its name."""
    pending: int
    """Jobs waiting (also for their time)."""
    running: int
    """Jobs being run."""
    oldest_at: datetime | None
    """Since when the oldest job that may run waits; none when nothing waits."""


class Stats(Fact):
    """Exact counts, from maintained counters."""

    by_status: dict[JobStatus, int]
    """One number per status; every status is there."""
    queues: list[QueueStats]
    """By name."""
    position: Position
    """The journal position that they are true for."""
