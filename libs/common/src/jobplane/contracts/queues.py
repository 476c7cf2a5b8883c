"""Queues as they are controlled: commands about them, what happened to them, and how they are.

What is said of a queue can be said of a kind, too: of its jobs in all queues.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal, Self
from uuid import UUID, uuid5

from pydantic import Field, StringConstraints, model_validator

from jobplane.contracts.actors import Actor
from jobplane.contracts.ids import Position
from jobplane.contracts.message import Fact, Message
from jobplane.contracts.subjects import KIND_PATTERN, QUEUE_PATTERN

MAX_CONCURRENCY: Final = 100_000
MAX_STARTS: Final = 100_000
MAX_EVERY_S: Final = 24 * 3600
_NAMESPACE: Final = UUID("3d3c6f5e-5b1f-5c0b-8d38-717565756573")

QueueText = Annotated[str, StringConstraints(pattern=QUEUE_PATTERN)]
KindText = Annotated[str, StringConstraints(pattern=KIND_PATTERN)]


class Rate(Message):
    """So many starts in so much time; what was not used is saved up, but for no more than a burst."""

    starts: int = Field(ge=1, le=MAX_STARTS)
    """How many jobs may start …"""
    every_s: int = Field(default=1, ge=1, le=MAX_EVERY_S)
    """… in so many seconds."""
    burst: int = Field(default=1, ge=1, le=MAX_STARTS)
    """How many may start at once after a time of rest."""


class Limits(Message):
    """How much may run."""

    concurrency: int | None = Field(default=None, ge=1, le=MAX_CONCURRENCY)
    """At most so many jobs run at once; none: any number."""
    rate: Rate | None = None
    """How fast jobs may start; none: as fast as workers ask."""

    @property
    def none(self) -> bool:
        """Whether nothing is limited."""
        return self.concurrency is None and self.rate is None


class QueueCommand(Message):
    """Asks something of one queue, or of one kind in all queues: exactly one of the two is named."""

    queue: QueueText | None = None
    """The queue's name."""
    kind: KindText | None = None
    """The kind of the jobs."""

    @property
    def TARGET(self) -> str:  # noqa: N802 - of other commands it is a constant
        """The sort of what it is about."""
        return "queue" if self.kind is None else "kind"

    @property
    def target(self) -> str:
        """What it is about."""
        return self.queue or self.kind or ""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.queue is None) == (self.kind is None):
            msg = "name a queue or a kind"
            raise ValueError(msg)
        return self


class PauseQueue(QueueCommand):
    """Start no more jobs of it, except forced ones; what runs goes on."""

    type: Literal["pause_queue"] = "pause_queue"
    drain: bool = False
    """Whether somebody waits for it to run empty."""


class ResumeQueue(QueueCommand):
    """Start jobs of it again."""

    type: Literal["resume_queue"] = "resume_queue"


class LimitQueue(QueueCommand):
    """Let only so many jobs of it run, or start; takes the place of the limits before."""

    type: Literal["limit_queue"] = "limit_queue"
    limits: Limits
    """The limits from now on; without any it is limited no more."""


AnyQueueCommand = PauseQueue | ResumeQueue | LimitQueue


class QueueEvent(Fact):
    """What every event of a queue, or of a kind, says."""

    TYPE: ClassVar[str]
    queue: str | None = None
    """The queue's name, by which its events are routed; none for a kind."""
    kind: str | None = None
    """The kind; none for a queue."""


class QueuePaused(QueueEvent):
    """No job of it is started any more, except forced ones."""

    TYPE = "queue.paused.v1"
    drain: bool = False
    """Whether somebody waits for it to run empty."""


class QueueResumed(QueueEvent):
    """Jobs of it are started again."""

    TYPE = "queue.resumed.v1"


class LimitsFact(Fact):
    """Limits in an event."""

    concurrency: int | None = None
    rate: Rate | None = None


class QueueLimited(QueueEvent):
    """Other limits hold for it."""

    TYPE = "queue.limited.v1"
    before: LimitsFact
    after: LimitsFact


AnyQueueEvent = QueuePaused | QueueResumed | QueueLimited

QUEUE_EVENTS: Final[dict[str, type[AnyQueueEvent]]] = {
    event.TYPE: event for event in (QueuePaused, QueueResumed, QueueLimited)
}
"""Every event of a queue or a kind, by its type."""


def stream_of(sort: str, name: str) -> str:
    """The id of the stream of a queue's or a kind's events; `sort` is ``queue`` or ``kind``."""
    return str(uuid5(_NAMESPACE, f"{sort}:{name}"))


class QueueState(StrEnum):
    """Whether jobs are started."""

    ACTIVE = "active"
    PAUSED = "paused"
    DRAINING = "draining"
    DRAINED = "drained"


class Pause(Fact):
    """A pause that lasts."""

    at: datetime
    """Since when."""
    by: Actor
    """Who wanted it."""
    by_name: str | None = None
    """Filled by the gateway from its accounts; none once erased."""
    reason: str | None = None
    """Why, in their words."""
    drain: bool = False
    """Whether somebody waits for it to run empty."""


class LimitsSet(Fact):
    """Limits that hold."""

    concurrency: int | None = None
    """At most so many jobs run at once."""
    rate: Rate | None = None
    """How fast jobs may start."""
    at: datetime
    """Since when."""
    by: Actor
    """Who set them."""
    by_name: str | None = None
    """Filled by the gateway from its accounts; none once erased."""
    reason: str | None = None
    """Why, in their words."""


class QueueControl(Fact):
    """How a queue, or a kind in all queues, is controlled."""

    queue: str | None = None
    """The queue; none for a kind."""
    kind: str | None = None
    """The kind; none for a queue."""
    state: QueueState
    """`draining` until nothing of it runs any more, then `drained`."""
    running: int
    """Jobs of it being run."""
    paused: Pause | None = None
    """Its pause, if it is paused."""
    limits: LimitsSet | None = None
    """Its limits, if it has some."""
    version: int
    """How many times it was controlled."""
    known: bool | None = None
    """Whether a job was ever in the queue, or is there of the kind: if not, look at how its name is written."""


class Throughput(Fact):
    """How fast jobs of a queue went lately."""

    window_s: float
    """What is counted happened in so many seconds: this minute and the four before."""
    started: int
    """Runs that started."""
    completed: int
    """Runs that completed."""
    failed: int
    """Runs that failed, also those that are retried."""
    per_minute: float
    """Runs that ended, a minute."""


class QueueView(QueueControl):
    """A queue, whole."""

    pending: int
    """Jobs that wait, also for their time."""
    due: int
    """How many of them may run now, counted up to 1,000."""
    due_more: bool = False
    """Whether there are more than were counted."""
    oldest_at: datetime | None = None
    """Since when the oldest job that may run waits; none when nothing waits."""
    throughput: Throughput | None = None
    """How fast it goes; none when the health service does not answer."""
    workers: int | None = None
    """How many workers look for its jobs; none when the health service does not answer."""


class QueueList(Fact):
    """All queues that have or had jobs or are controlled, and the kinds that are controlled."""

    queues: list[QueueView]
    """By name."""
    kinds: list[QueueControl]
    """By name."""
    position: Position
    """The journal position that it is true for."""
