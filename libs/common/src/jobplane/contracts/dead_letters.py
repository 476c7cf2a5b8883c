"""Dead letters: what a service could not process, as it is kept on the bus and as everybody sees it."""

from datetime import datetime
from typing import Final, Literal

from pydantic import Field, JsonValue

from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.message import Fact

DEAD_REASON: Final = "Jobplane-Dead-Reason"
DEAD_SUBJECT: Final = "Jobplane-Dead-Subject"
"""Header of a command: where it was sent."""
DEAD_SIZE: Final = "Jobplane-Dead-Size"
"""Header of a message that was too large to be kept whole: how many bytes its body had."""
DEAD_STREAM: Final = "Jobplane-Dead-Stream"
"""Header of an event: the stream it stands in."""
DEAD_POSITION: Final = "Jobplane-Dead-Position"

REPLAY_EVENT: Final = "dead_event_replay"
"""The name of the query that every service answers that may bury events."""

MAX_SEQUENCE: Final = 2**63 - 1
PART_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
"""A word of a subject."""


class ListDeadLetters(Fact):
    """Dead letters, newest first; filters compose by AND."""

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None
    service: str | None = Field(default=None, pattern=PART_PATTERN)
    """Who could not process it."""
    what: str | None = Field(default=None, pattern=PART_PATTERN)
    """What sort of thing it is."""
    since: datetime | None = None
    """Not older than this."""


class OneDeadLetter(Fact):
    """One dead letter; for a replay or a discard, too."""

    seq: int = Field(ge=1, le=MAX_SEQUENCE)


class OneDeadEvent(Fact):
    """One event that a service could not read."""

    stream: str = Field(pattern=PART_PATTERN)
    """Where it stands."""
    position: int = Field(ge=1, le=MAX_SEQUENCE)
    """Where in it."""


class DeadEventReplayed(OneDeadEvent):
    """An event that the service has read: its rows do not lack it."""

    missing: bool
    """Whether they lacked it until now; otherwise nothing was done."""


class DeadLetter(Fact):
    """Something that a service could not process."""

    seq: int
    """Its number, which never changes."""
    at: datetime
    """When it was given up."""
    service: str
    """Who could not process it: ``jobs``, ``audit`` or ``health``."""
    what: str
    """``command``, or the stream that an event stands in."""
    reason: str
    """Why, in the words of the service."""
    subject: str | None = None
    """Where a command was sent; it names the issuer and the verb."""
    position: int | None = None
    """Where an event stands in its stream."""
    size_bytes: int
    """Of its body."""
    replayable: bool
    """Whether it can be handed again to whoever could not process it: a command that was kept whole, or an event."""


class DeadLetterPage(Fact):
    """One page, newest first."""

    items: list[DeadLetter]
    """The dead letters; a page may be shorter than its limit."""
    next_cursor: str | None = None
    """For the next page; none on the last."""


class DeadLetterDetail(DeadLetter):
    """A dead letter with what it says, which may be secret."""

    headers: dict[str, str]
    """As they came, with those that tell why it was given up; long values are cut off."""
    text: str
    """The body as text, at most its first 64 KiB; what is not UTF-8 is replaced."""
    truncated: bool
    """Whether the text is only the beginning."""
    content: JsonValue = None
    """The whole body, if it is JSON and not truncated."""
    command_id: CommandId | None = None
    """Of a command that names one."""


class DeadLetterReplayed(Fact):
    """A dead letter that was handed over again, decided or read, and is gone from the queue."""

    seq: int
    """Its number."""
    command_id: CommandId | None = None
    """The command in it: one that had been carried out before is not carried out again. None of an event."""
    status: Literal["done", "refused"]
    """Whether the command was done; an event that was read is `done`."""
    code: str | None = None
    """Why it was refused, or `already_exists`; `already_read` of an event that the service had read before."""
    detail: str | None = None
    """The same for people."""
    job_id: JobId | None = None
    """The job that a command was about."""
    position: int | None = None
    """Position of the last event that the command caused; of an event, where it stands in its stream."""


class DeadLetterDiscarded(Fact):
    """A dead letter that is gone for good."""

    seq: int
    """Its number."""
