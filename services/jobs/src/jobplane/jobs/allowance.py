"""How many jobs may start where queues or kinds are paused or limited: no clock, no I/O.

Rates follow the generic cell rate algorithm (ITU-T I.371): one instant is all that is kept, the time by which all that
has started would be paid for. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from jobplane.contracts.queues import Rate
from jobplane.jobs.queue import Control

_US: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Held:
    """A locked control, with what only its row knows."""

    control: Control
    paid_until: datetime | None = None
    """Of a rate: when all that has started is paid for; none: nothing has started."""
    running: int = 0
    """Jobs of it that run; known where their number is limited."""


@dataclass(frozen=True, slots=True)
class Permit:
    """What may start now."""

    kinds: Mapping[str, int]
    """How many of each kind may start; kinds of which none may start are left out."""
    forced: Sequence[str]
    """The kinds of which only forced jobs may start."""
    most: int
    """How many in all."""
    again_in: timedelta | None = None
    """When a rate allows one more start; none if no rate is in the way."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """The limited ones, by key."""


def keys_of(queue: str, kinds: Iterable[str]) -> set[str]:
    """The keys of all that may keep jobs of these kinds from starting in the queue."""
    return {f"queue:{queue}", *(f"kind:{kind}" for kind in kinds)}


def permit(found: Iterable[Held], queue: str, kinds: Iterable[str], most: int, now: datetime) -> Permit:
    """What may start of some kinds of a queue, at most so many."""
    held = {item.control.target.key: item for item in found}
    of_queue = held.get(f"queue:{queue}")
    all_paused = of_queue is not None and of_queue.control.paused is not None
    in_all = most if of_queue is None else min(most, _room(of_queue, now))
    allowed: dict[str, int] = {}
    forced: list[str] = []
    waits = [] if of_queue is None or in_all >= most else _waits([of_queue], now)
    for kind in sorted(set(kinds)):
        of_kind = held.get(f"kind:{kind}")
        room = in_all if of_kind is None else min(in_all, _room(of_kind, now))
        if of_kind is not None and room < in_all:
            waits += _waits([of_kind], now)
        if room > 0:
            allowed[kind] = room
            if all_paused or (of_kind is not None and of_kind.control.paused is not None):
                forced.append(kind)
    limited = {key: item for key, item in held.items() if item.control.limits is not None}
    return Permit(allowed, forced, in_all, min(waits) - now if waits else None, limited)


def paid(held: Mapping[str, Held], started: Mapping[str, int], now: datetime) -> dict[str, datetime]:
    """Until when each rate is paid for, after so many starts by key; without those of which nothing started."""
    after: dict[str, datetime] = {}
    for key, item in held.items():
        rate = item.control.limited.rate
        count = started.get(key, 0)
        if rate is not None and count:
            after[key] = max(item.paid_until or now, now) + count * interval(rate)
    return after


def interval(rate: Rate) -> timedelta:
    """The time that one start costs; rounded up, so that never more start than agreed."""
    us = -(-rate.every_s * 1_000_000 // rate.starts)
    return us * _US


def tokens(rate: Rate, paid_until: datetime | None, now: datetime) -> int:
    """How many may start at once."""
    ahead = max(paid_until or now, now) - now
    return max(0, (rate.burst * interval(rate) - ahead) // interval(rate))


def _room(item: Held, now: datetime) -> int:
    limits = item.control.limited
    rooms = []
    if limits.concurrency is not None:
        rooms.append(max(0, limits.concurrency - item.running))
    if limits.rate is not None:
        rooms.append(tokens(limits.rate, item.paid_until, now))
    return min(rooms, default=_UNLIMITED)


_UNLIMITED: Final = 2**31


def _waits(items: Iterable[Held], now: datetime) -> list[datetime]:
    """When each rate has its next token beyond those that it has now."""
    found = []
    for item in items:
        rate = item.control.limited.rate
        if rate is not None:
            step = interval(rate)
            there = tokens(rate, item.paid_until, now)
            found.append(max(item.paid_until or now, now) + (there + 1 - rate.burst) * step)
    return found
