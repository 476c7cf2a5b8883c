"""The worker protocol: JSON over core NATS request/reply, for workers in any language.

`jobs.lease.<queue>`  LeaseRequest → LeaseReply   a long poll for jobs
`jobs.beat`           Beat → BeatReply            every third of a lease
`jobs.done`           DoneReport → DoneReply      outcomes, in batches, repeated until answered
`jobs.signal.<worker>` Signal                     told at once when a run must stop
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, JsonValue

from jobplane.contracts.commands import KIND_PATTERN
from jobplane.contracts.ids import JobId
from jobplane.contracts.message import Fact
from jobplane.contracts.subjects import WORKER_PATTERN

MAX_LEASE_REPLY_BYTES: Final = 512 * 1024
MAX_DONE_BYTES: Final = 512 * 1024
DEFAULT_LEASE_MS: Final = 30_000

Kind = Annotated[str, Field(pattern=KIND_PATTERN)]
Token = Annotated[str, Field(max_length=64, pattern=r"^[\x21-\x7e]*$")]


class LeaseRequest(Fact):
    """Ask for jobs of one queue; answered when there are some, or empty after `wait_ms`."""

    request_id: str = Field(min_length=8, max_length=64, pattern=r"^[\x21-\x7e]*$")
    """Repeat it with the same id when no answer came: the same answer is given."""
    worker: str = Field(pattern=WORKER_PATTERN)
    """Who asks."""
    kinds: list[Kind] = Field(min_length=1, max_length=256)
    """The kinds it can run."""
    max: int = Field(default=1, ge=1, le=512)
    """At most so many jobs."""
    wait_ms: int = Field(default=0, ge=0, le=30_000)
    """How long the answer may wait for jobs; a repetition with 0 ends a wait under way."""
    lease_ms: int = Field(default=DEFAULT_LEASE_MS, ge=1_000, le=3_600_000)
    """How long a lease lasts without a beat."""
    repeated: bool = False
    """Set when this is not the first time the request is sent."""


class LeasedJob(Fact):
    """One job to run."""

    job: JobId
    """The job."""
    kind: str
    """Which handler."""
    queue: str
    """Its queue."""
    run: int
    """Number of this run."""
    attempt: int
    """Number of this attempt, from 1."""
    max_attempts: int
    """How many there may be."""
    token: str
    """128 random bits (hex) that fence this run: every report carries it."""
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    """What to do."""
    asset: str | None = None
    """Key of the file it works on, in the object store."""
    tags: list[str] = Field(default_factory=list)
    """Its tags."""
    lease_ends_at: datetime
    """Without a beat until then, the job is given to somebody else."""
    deadline: datetime | None = None
    """The run fails with ``timeout`` at this instant."""
    traceparent: str
    """Continue this trace."""


class LeaseReply(Fact):
    """The answer to a lease request."""

    jobs: list[LeasedJob] = Field(default_factory=list)
    """To run now; may be empty."""
    error: str | None = None
    """``invalid`` (do not repeat it) or ``unavailable`` (wait a little, then ask again)."""
    detail: str | None = None
    """One sentence."""


class RunningJob(Fact):
    """A run that goes on."""

    job: JobId
    token: Token
    progress: float | None = Field(default=None, ge=0, le=1)
    """How far it is."""


class Beat(Fact):
    """A worker is alive and runs these; sent also with none."""

    worker: str = Field(pattern=WORKER_PATTERN)
    running: list[RunningJob] = Field(default_factory=list, max_length=4096)


class BeatReply(Fact):
    """What the worker must know of its runs."""

    extend_to: datetime | None = None
    """The leases now last until then (of runs with a longer lease: longer)."""
    cancel: list[JobId] = Field(default_factory=list)
    """Stop these and report them as ``cancelled``."""
    lost: list[JobId] = Field(default_factory=list)
    """These are no longer yours: stop them, reports will be refused."""
    error: str | None = None
    """``invalid`` or ``unavailable``."""


class ReportedError(Fact):
    """Why a run failed."""

    type: str = Field(max_length=200)
    """Name of the exception."""
    message: str = ""
    """What it said; cut at 4,096 characters."""
    stack: str | None = None
    """The stack; cut at 32 KiB."""
    retryable: bool = True
    """False: another attempt cannot help, fail the job now."""


class DoneItem(Fact):
    """How one run ended."""

    job: JobId
    token: Token
    outcome: Literal["completed", "failed", "cancelled", "released"]
    """``released``: given back unfinished."""
    result: JsonValue = None
    """For ``completed``, at most 256 KiB of JSON."""
    error: ReportedError | None = None
    """For ``failed``."""
    stop_heard_at: AwareDatetime | None = None
    """When the worker heard, by its own clock, that the job is cancelled; none if it did not."""


class DoneReport(Fact):
    """How some runs ended; safe to repeat."""

    worker: str = Field(pattern=WORKER_PATTERN)
    items: list[DoneItem] = Field(max_length=512)


class DoneAnswer(Fact):
    """What became of one reported run."""

    job: JobId
    token: str
    status: Literal["accepted", "lease_lost", "invalid"]
    """``lease_lost``: the run was fenced, its outcome was not taken."""
    detail: str | None = None


class DoneReply(Fact):
    """One answer per item, in order; or an error for all, then nothing was taken."""

    answers: list[DoneAnswer] = Field(default_factory=list)
    error: str | None = None
    """``invalid`` or ``unavailable``."""
    detail: str | None = None


class Signal(Fact):
    """Sent to `jobs.signal.<worker>` when a run must stop at once."""

    job: JobId
    token: str
    cause: Literal["cancelled", "timeout", "lost"]
