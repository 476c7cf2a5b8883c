"""Which jobs there are: a seeded mix of kinds, queues, tags, sizes and ends, made without clock or database."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import JsonValue


class End(StrEnum):
    """How a job is to end, or where it is to stay."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    WAITING = "waiting"
    """PENDING, due in weeks."""
    READY = "ready"
    """PENDING, due, of a kind that nobody runs."""
    HELD = "held"
    """RUNNING."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One job to be."""

    end: End
    kind: str
    queue: str
    priority: int
    tags: Sequence[str]
    payload: dict[str, JsonValue]
    wait_h: int
    """Of a WAITING job: hours until it is due."""


BUSY_QUEUES: Final = tuple(f"work-{number}" for number in range(8))
"""Where finished jobs were; the first has half of all, the last hardly any."""
KINDS: Final = tuple(
    f"scale.{name}" for name in ("mail", "image", "invoice", "export", "sync", "index", "push", "rare")
)
PARKED_QUEUE: Final = "parked"
PARKED_KIND: Final = "scale.parked"
HELD_QUEUE: Final = "held"
HELD_KIND: Final = "scale.held"

_ENDS: Final = {
    End.COMPLETED: 9000,
    End.FAILED: 500,
    End.CANCELLED: 200,
    End.WAITING: 250,
    End.READY: 45,
    End.HELD: 5,
}
_FALLING: Final = (500, 250, 120, 60, 40, 20, 9, 1)
_SIZES: Final = {20: 70, 200: 20, 1500: 9, 12_000: 1}
_TAGS: Final = tuple(f"customer-{number}" for number in range(200))
_PRIORITIES: Final = {0: 90, 5: 8, -5: 2}


def planned(seed: int, first: int, count: int) -> list[Planned]:
    """The jobs number `first` and following; the same for the same arguments."""
    dice = random.Random(f"{seed}.{first}")
    ends = dice.choices(list(_ENDS), [*_ENDS.values()], k=count)
    kinds = dice.choices(KINDS, _FALLING, k=count)
    queues = dice.choices(BUSY_QUEUES, _FALLING, k=count)
    sizes = dice.choices(list(_SIZES), [*_SIZES.values()], k=count)
    priorities = dice.choices(list(_PRIORITIES), [*_PRIORITIES.values()], k=count)
    return [
        _one(dice, first + n, end, kind, queue, size, priority)
        for n, (end, kind, queue, size, priority) in enumerate(zip(ends, kinds, queues, sizes, priorities, strict=True))
    ]


def parked(first: int, count: int) -> list[Planned]:
    """Jobs that are ready, and of a kind that nobody runs."""
    return [
        Planned(End.READY, PARKED_KIND, PARKED_QUEUE, 0, (), {"n": number}, 0) for number in range(first, first + count)
    ]


def _one(dice: random.Random, number: int, end: End, kind: str, queue: str, size: int, priority: int) -> Planned:
    match end:
        case End.READY:
            kind, queue = PARKED_KIND, PARKED_QUEUE
        case End.HELD:
            kind, queue = HELD_KIND, HELD_QUEUE
        case _:
            pass
    return Planned(
        end=end,
        kind=kind,
        queue=queue,
        priority=priority,
        tags=dice.sample(_TAGS, dice.randrange(3)),
        payload={"n": number, "end": end.value, "text": dice.randbytes(size // 2).hex()},
        wait_h=dice.randrange(24 * 7, 24 * 90),
    )
