"""Events that this process has just committed: whoever publishes them need not read them from the database again."""

from collections.abc import Sequence
from typing import Final

from jobplane.contracts.envelope import EventRecord

MOST: Final = 4096


class RecentEvents:
    """Kept until they are taken, by position; when too many gather, all are forgotten: the journal has them."""

    def __init__(self) -> None:
        self._events: dict[int, EventRecord] = {}

    def add(self, events: Sequence[EventRecord]) -> None:
        """Keep these; transactions that were committed together may be told in another order."""
        if len(self._events) + len(events) > MOST:
            self._events.clear()
        self._events |= {event.position: event for event in events}

    def take(self, last: int, limit: int) -> list[EventRecord]:
        """Those right behind position `last`, without a gap; none if the next is not here, then the others go too."""
        found: list[EventRecord] = []
        while len(found) < limit:
            event = self._events.pop(last + 1 + len(found), None)
            if event is None:
                break
            found.append(event)
        if not found:
            self._events.clear()
        return found

    @property
    def more(self) -> bool:
        """Whether some are left behind a gap."""
        return bool(self._events)

    def clear(self) -> None:
        """Forget all, because the journal may be another."""
        self._events.clear()
