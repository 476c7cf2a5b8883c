"""Events → how many jobs were created, started, completed and failed per minute, queue and kind; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pydantic import ValidationError

from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.fleet import MinuteRate
from jobplane.contracts.job_events import JobCompleted, JobCreated, JobFailed, JobStarted
from jobplane.contracts.message import Fact


class Cell(NamedTuple):
    """What one count is of."""

    minute: datetime
    queue: str
    kind: str


@dataclass(slots=True)
class Counts:
    """What happened in one cell."""

    created: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0


class _Routed(Fact):
    """The two things that every event of a job says and that are counted by."""

    queue: str
    kind: str


_COUNTED: Final[Mapping[str, str]] = {
    JobCreated.TYPE: "created",
    JobStarted.TYPE: "started",
    JobCompleted.TYPE: "completed",
    JobFailed.TYPE: "failed",
}


def is_counted(event: EventRecord) -> bool:
    """Whether the event counts as something that happened to a job."""
    return event.type in _COUNTED


def cell_of(event: EventRecord) -> Cell:
    """Where a counted event belongs.

    Raises:
        InvalidMessage: its body names no queue or kind, or its time is not a time.
    """
    try:
        body = _Routed.model_validate_json(event.data)
    except ValidationError as error:
        raise InvalidMessage(f"body of {event.type} names no queue or kind") from error
    if event.at.tzinfo is None:
        raise InvalidMessage("the time of an event has an offset")
    if "\0" in body.queue or "\0" in body.kind:
        raise InvalidMessage("a queue or kind contains a NUL")
    return Cell(event.at.astimezone(UTC).replace(second=0, microsecond=0), body.queue, body.kind)


def tally(events: Iterable[tuple[Cell, str]]) -> dict[Cell, Counts]:
    """Counts by cell, of `(cell, event type)` pairs."""
    counts: dict[Cell, Counts] = {}
    for cell, event_type in events:
        found = counts.setdefault(cell, Counts())
        match _COUNTED[event_type]:
            case "created":
                found.created += 1
            case "started":
                found.started += 1
            case "completed":
                found.completed += 1
            case _:
                found.failed += 1
    return counts


def rate(minute: datetime, counts: Counts) -> MinuteRate:
    """One minute as everybody sees it."""
    ended = counts.completed + counts.failed
    return MinuteRate(
        minute=minute,
        created=counts.created,
        started=counts.started,
        completed=counts.completed,
        failed=counts.failed,
        error_rate=round(counts.failed / ended, 4) if ended else None,
    )
