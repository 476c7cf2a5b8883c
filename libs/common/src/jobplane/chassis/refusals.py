"""Refusals are facts too, but a flood of them must not become a flood of events.

After 20 alike in a minute, one event sums up the rest.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
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

    @contextmanager
    def attempt(self) -> Iterator[Callable[[Key, Sample, datetime], bool]]:
        """Count within a transaction by the given `add`: if the block raises, nothing of it was counted."""
        added: list[Key] = []

        def add(key: Key, sample: Sample, at: datetime) -> bool:
            added.append(key)
            return self.add(key, sample, at)

        try:
            yield add
        except BaseException:
            for key in added:
                minute = self._minutes.get(key)
                if minute is not None:
                    minute.suppressed -= minute.seen > EVENTS_PER_MINUTE
                    minute.seen -= 1
            raise

    def put_back(self, closed: Iterable[tuple[Key, Sample, int]], at: datetime) -> None:
        """Count those again whose summary could not be recorded."""
        for key, sample, suppressed in closed:
            minute = self._minutes.setdefault(key, _Minute(at))
            minute.suppressed += suppressed
            minute.last = minute.last or sample

    def due(self, at: datetime) -> list[tuple[Key, Sample, int]]:
        """Close the minutes that are over.

        Gives (key, last sample, how many were suppressed) of those that suppressed any.
        """
        over = [key for key, minute in self._minutes.items() if at - minute.since >= _MINUTE]
        closed = [(key, self._minutes.pop(key)) for key in over]
        return _summaries(closed)

    def rest(self) -> list[tuple[Key, Sample, int]]:
        """Close everything, at the end of the process."""
        closed, self._minutes = self._minutes, {}
        return _summaries(closed.items())


def _summaries(closed: Iterable[tuple[Key, _Minute[Sample]]]) -> list[tuple[Key, Sample, int]]:
    return [
        (key, minute.last, minute.suppressed) for key, minute in closed if minute.last is not None and minute.suppressed
    ]
