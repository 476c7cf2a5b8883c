"""Writes events that mean nothing into a journal, and checks what it kept."""

import json
from collections.abc import Sequence
from dataclasses import replace

from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, LockOrder
from jobplane.chassis.new_events import APPEND, NewEvent, append_parameters
from jobplane.contracts.actors import system
from jobplane.contracts.envelope import EventRecord

_TRACEPARENT = f"00-{'1' * 32}-{'2' * 16}-01"


def event(stream_id: str | None = None, version: int = 1, **data: object) -> NewEvent:
    """An event of a stream, the first of a new one unless said."""
    return NewEvent(
        stream_id=stream_id or new_id(),
        version=version,
        type="test.happened.v1",
        data=json.dumps({"queue": "default", **data}).encode(),
        actor=system("test"),
        correlation_id=new_id(),
        traceparent=_TRACEPARENT,
    )


def with_reason(one: NewEvent, reason: str) -> NewEvent:
    """The same event as somebody caused it on purpose."""
    return replace(one, reason=reason, command_id=new_id(), causation_id=new_id())


async def append(journal: Journal, *events: NewEvent) -> int:
    """Append in one transaction; gives the first position."""
    async with journal.transaction() as tx:
        return await tx.append(events)


async def fill(journal: Journal, count: int, *, size: int = 0) -> list[NewEvent]:
    """Append some events, each with a body of about `size` bytes."""
    events = [event(n=n, filler="x" * size) for n in range(count)]
    await append(journal, *events)
    return events


async def everything(journal: Journal) -> list[EventRecord]:
    """All events of a journal, oldest first."""
    found: list[EventRecord] = []
    while page := await journal.after(len(found), 1000):
        found += page
    return found


async def assert_gapless(journal: Journal, ids: Sequence[str] | None = None) -> None:
    """Positions are 1, 2, 3 … up to the head; the events are those with these ids, in any order."""
    events = await everything(journal)
    assert [one.position for one in events] == list(range(1, len(events) + 1))
    assert (await journal.figures()).position == len(events)
    if ids is not None:
        assert sorted(one.id for one in events) == sorted(ids)


async def exchange(journal: Journal, *events: NewEvent) -> None:
    """Append in one transaction as the jobs service does, one event unless said."""
    events = events or (event(),)
    async with journal.exchange() as tx:
        parameters = append_parameters(events, tx.known)
        statement = f"WITH {APPEND} SELECT base FROM head"
        await tx.read()
        tx.finish((LockOrder.HEAD, statement, parameters), events=events)
