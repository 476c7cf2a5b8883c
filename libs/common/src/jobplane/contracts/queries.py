"""What services ask each other over `<service>.query.<name>`: a JSON request, a `Reply` in return.

jobs.query.list     ListJobs → JobPage           jobs.query.detail   OneJob → JobView
jobs.query.unredacted  OneJob → JobView, with its secrets
jobs.query.attempts  OneJobAttempts → Attempts
jobs.query.count    CountJobs → JobCount
jobs.query.history  OneJobHistory → History      jobs.query.stats    Nothing → Stats
jobs.query.command  OneCommand → CommandOutcome  jobs.query.journal  Nothing → JournalFigures
jobs.query.dead_letters  ListDeadLetters → DeadLetterPage
jobs.query.dead_letter   OneDeadLetter → DeadLetterDetail
jobs.query.dead_letter_replay   OneDeadLetter → DeadLetterReplayed
jobs.query.dead_letter_discard  OneDeadLetter → DeadLetterDiscarded
audit.query.list    AuditQuery → AuditPage       health.query.detailed  Nothing → DetailedHealth
health.query.queues Nothing → QueueActivities
jobs.query.queues   Nothing → QueueList          jobs.query.queue    OneQueue → QueueView
jobs.query.kind     OneKind → QueueControl
jobs.query.errors   ListErrorGroups → ErrorGroupPage
jobs.query.error    OneErrorGroup → ErrorGroupView
jobs.query.operations  ListOperations → OperationPage  jobs.query.operation  OneOperation → OperationView
jobs.query.operation_items  ListItems → OperationItems
jobs.query.journal_page, gateway.query.journal_page  ReadJournal → JournalPage
audit.query.dead_event_replay, health.query.dead_event_replay  OneDeadEvent → DeadEventReplayed
"""

from enum import StrEnum
from typing import Annotated, Final, Generic, TypeVar

from pydantic import AwareDatetime, Field, JsonValue

from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.message import Fact
from jobplane.contracts.operations import ItemOutcome, OperationStatus

T = TypeVar("T")
JOURNAL_PAGE: Final = "journal_page"
"""The name of the query that every owner of a journal answers."""


class Problem(Fact):
    """Why a query has no answer."""

    code: str
    """E.g. ``job_not_found``, ``invalid_cursor``, ``unavailable``."""
    detail: str
    """One sentence that says what to do."""
    facts: dict[str, JsonValue] = Field(default_factory=dict)


class Reply(Fact, Generic[T]):
    """The answer to a query: exactly one of the two is set."""

    ok: T | None = None
    problem: Problem | None = None


class Nothing(Fact):
    """A query without parameters."""


class JobSort(StrEnum):
    """The order of a list; a minus begins with the largest or latest. Jobs without such an instant come last."""

    NEWEST = "-created"
    OLDEST = "created"
    LATEST_STARTED = "-started"
    EARLIEST_STARTED = "started"
    LATEST_FINISHED = "-finished"
    EARLIEST_FINISHED = "finished"
    LATEST_DUE = "-run_at"
    EARLIEST_DUE = "run_at"
    HIGHEST_PRIORITY = "-priority"
    LOWEST_PRIORITY = "priority"


class ListJobs(Fact):
    """Jobs, newest first; filters compose by AND, several values of one filter by OR."""

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None
    status: list[JobStatus] = Field(default_factory=list)
    queue: list[str] = Field(default_factory=list)
    kind: list[str] = Field(default_factory=list)
    filter: JobFilter = JobFilter()
    """Holds, too."""
    sort: JobSort = JobSort.NEWEST
    indexed_to: int | None = Field(default=None, ge=1, lt=2**63)
    """Not before the index of the search knows this position, where it is asked."""


class CountJobs(Fact):
    """How many jobs there are."""

    filter: JobFilter = JobFilter()
    indexed_to: int | None = Field(default=None, ge=1, lt=2**63)
    """As for lists."""


class OneJob(Fact):
    """One job, with payload, result and error; as it was at an instant or a position, if one is given."""

    job_id: JobId
    at: AwareDatetime | None = None
    """With all events up to this instant."""
    position: int | None = Field(default=None, ge=1, lt=2**63)
    """With all events up to this position."""


class OneJobHistory(Fact):
    """All events of one job, oldest first."""

    job_id: JobId
    limit: int = Field(default=200, ge=1, le=500)
    cursor: str | None = None


class OneJobAttempts(Fact):
    """The runs of one job, oldest first."""

    job_id: JobId
    limit: int = Field(default=200, ge=1, le=500)
    cursor: str | None = None


class OneCommand(Fact):
    """The outcome of one command, if it has one."""

    command_id: CommandId


class OneQueue(Fact):
    """One queue."""

    queue: str


class OneKind(Fact):
    """One kind, in all queues."""

    kind: str


class OneOperation(Fact):
    """One operation, whole."""

    operation_id: Annotated[str, Field(min_length=1)]


class ListOperations(Fact):
    """Operations, newest first."""

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None
    status: list[OperationStatus] = Field(default_factory=list)


class ListItems(Fact):
    """The jobs of one operation."""

    operation_id: str
    limit: int = Field(default=200, ge=1, le=500)
    cursor: str | None = None
    outcome: ItemOutcome | None = None
    code: str | None = None


class JournalFigures(Fact):
    """How far a journal and its relay are."""

    position: int
    """Head of the journal."""
    relayed: int
    """Last sequence known to be in the stream."""
    epoch: int
    """Counts how often an operator had to open a new one."""
    first: int = 1
    """Position with which the current epoch, and so the stream, begins."""
    halted: str | None = None
    """Why writes are halted, if they are."""


class ReadJournal(Fact):
    """Events of a journal, for a follower whose stream no longer has them."""

    after: int = Field(ge=0, lt=2**63)
    """The position before the first event wanted."""
    limit: int = Field(default=500, ge=1, le=500)


class JournalEvent(Fact):
    """An event as the bus carries it."""

    position: int
    """Sequence of its message."""
    subject: str
    headers: dict[str, str]
    data: str
    """The body, character by character."""


class JournalPage(Fact):
    """Some events, oldest first, and the journal as of the same moment."""

    events: list[JournalEvent]
    """Fewer than asked for if more would not fit into a message or there are no more; then none."""
    figures: JournalFigures
    kept_from: int
    """Position of the oldest event that the journal still has; 0 if it has none."""
