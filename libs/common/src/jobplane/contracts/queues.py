"""Queues as they are controlled: commands about them, and what happened to them."""

from typing import ClassVar, Literal

from pydantic import Field

from jobplane.contracts.message import Fact, Message
from jobplane.contracts.subjects import QUEUE_PATTERN


class QueueCommand(Message):
    """Asks something of one queue."""

    TARGET: ClassVar[str] = "queue"
    queue: str = Field(pattern=QUEUE_PATTERN)
    """Its name."""

    @property
    def target(self) -> str:
        """What it is about."""
        return self.queue


class PauseQueue(QueueCommand):
    """Lease no more jobs of this queue, except forced ones; what runs goes on."""

    type: Literal["pause_queue"] = "pause_queue"


class ResumeQueue(QueueCommand):
    """Lease jobs of this queue again."""

    type: Literal["resume_queue"] = "resume_queue"


AnyQueueCommand = PauseQueue | ResumeQueue


class QueueEvent(Fact):
    """What every event of a queue says."""

    TYPE: ClassVar[str]
    queue: str
    """Its name, by which its events are routed."""


class QueuePaused(QueueEvent):
    """Nobody leases its jobs any more, except forced ones."""

    TYPE = "queue.paused.v1"


class QueueResumed(QueueEvent):
    """Its jobs are leased again."""

    TYPE = "queue.resumed.v1"


AnyQueueEvent = QueuePaused | QueueResumed
