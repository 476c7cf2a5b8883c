"""Refusals are facts too, but a flood of them must not become a flood of events.

After 20 alike in a minute, one event sums up the rest.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

EVENTS_PER_MINUTE: Final = 20
_MINUTE: Final = timedelta(minutes=1)

Key = TypeVar("Key", bound=Hashable)
Sample = TypeVar("Sample")


@dataclass(slots=True)
class _Minute(Generic[Sample]):
    since: datetime
    seen: int = 0
    suppressed: int = 0
    last: Sample | None = None


@dataclass(slots=True)
class Tally(Generic[Key, Sample]):
    """Counts refusals per key (actor, code) and minute; reads no clock."""

    _minutes: dict[Key, _Minute[Sample]] = field(default_factory=dict)

    def add(self, key: Key, sample: Sample, at: datetime) -> bool:
        """Count one; whether it deserves an event of its own."""
        minute = self._minutes.get(key)
        if minute is None:
            minute = self._minutes[key] = _Minute(at)
        minute.seen += 1
        if minute.seen <= EVENTS_PER_MINUTE:
            return True
        minute.suppressed += 1
        minute.last = sample
        return False

    def due(self, at: datetime) -> list[tuple[Key, Sample, int]]:
        """Close the minutes that are over.

        Gives (key, last sample, how many were suppressed) of those that suppressed any.
        """
        over = [key for key, minute in self._minutes.items() if at - minute.since >= _MINUTE]
        closed = [(key, self._minutes.pop(key)) for key in over]
        return [(key, minute.last, minute.suppressed) for key, minute in closed if minute.last is not None]

    def rest(self) -> list[tuple[Key, Sample, int]]:
        """Close everything, at the end of the process."""
        closed, self._minutes = self._minutes, {}
        return [(key, minute.last, minute.suppressed) for key, minute in closed.items() if minute.last is not None]
