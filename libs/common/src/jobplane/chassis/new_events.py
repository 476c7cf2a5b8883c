"""Events that are to be appended: how one is told, and the statement that takes positions and inserts them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from jobplane.chassis import clock
from jobplane.chassis.arrays import plain, texts
from jobplane.chassis.exchange import Parameter
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.ids import EventId

WRITABLE: Final = "halted IS NULL AND (pos >= %s OR epoch > %s)"
"""Condition on `journal_head`, for `Journal.known`: it is not halted, and not older than what this process has seen.

A database that was restored from a copy may be back before anybody notices; it must not number new events over those
that others have read.
"""
HELD: Final = f"head AS (SELECT pos AS base FROM journal_head WHERE {WRITABLE} FOR SHARE)"  # noqa: S608 - constants
"""The head for a change without events: nothing is answered from a journal that may not be written."""
APPEND: Final = f"""
head AS (
    UPDATE journal_head SET pos = pos + %s WHERE {WRITABLE} RETURNING pos - %s AS base
), appended AS (
    INSERT INTO event (pos, stream_id, version, type, id, command_id, actor, reason, correlation_id, causation_id,
        traceparent, at, data)
    SELECT head.base + e.n, e.stream_id, e.version, e.type, e.id, e.command_id, e.actor, e.reason, e.correlation_id,
        e.causation_id, e.traceparent, e.at, e.data
    FROM head, unnest(%s::uuid[], %s::integer[], %s::text[], %s::uuid[], %s::uuid[], %s::json[], %s::text[],
        %s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[], %s::json[]) WITH ORDINALITY
        AS e (stream_id, version, type, id, command_id, actor, reason, correlation_id, causation_id, traceparent, at,
            data, n)
)
"""  # noqa: S608 - constants
"""Takes the next positions, `head.base` + 1 and on, and inserts events there; for `append_parameters`.

What else belongs to the same change joins the statement, so that one round trip writes all of it. No row of `head`:
writes are halted.
"""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append; `data` is the JSON text of its body, kept and published byte for byte."""

    stream_id: str
    version: int
    type: str
    data: bytes
    actor: Actor
    correlation_id: str
    traceparent: str
    reason: str | None = None
    command_id: str | None = None
    causation_id: str | None = None
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=clock.now)


def append_parameters(events: Sequence[NewEvent], known: tuple[int, int]) -> list[Parameter]:
    """The parameters of `APPEND`; `known` is `Journal.known`."""
    actors: dict[Actor, str] = {}
    for event in events:
        if event.actor not in actors:
            actors[event.actor] = event.actor.model_dump_json(exclude_none=True)
    return [
        len(events),
        *known,
        len(events),
        plain([event.stream_id for event in events]),
        plain([event.version for event in events]),
        texts([event.type for event in events]),
        plain([event.id for event in events]),
        plain([event.command_id for event in events]),
        texts([actors[event.actor] for event in events]),
        texts([event.reason for event in events]),
        plain([event.correlation_id for event in events]),
        plain([event.causation_id for event in events]),
        texts([event.traceparent for event in events]),
        plain([event.at for event in events]),
        texts([event.data.decode() for event in events]),
    ]


def record_at(position: int, event: NewEvent) -> EventRecord:
    """An event as the journal keeps it at a position."""
    return EventRecord(
        position=position,
        stream_id=event.stream_id,
        version=event.version,
        type=event.type,
        id=EventId(event.id),
        command_id=event.command_id,
        actor=event.actor,
        reason=event.reason,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
        traceparent=event.traceparent,
        at=event.at,
        data=event.data,
    )
