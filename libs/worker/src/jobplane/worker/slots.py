"""How many more jobs may be leased: free slots, and a few ahead while jobs are so short that slots would stand idle."""

import asyncio
from collections import deque
from typing import Final

MAX_AHEAD: Final = 64
SHORT_S: Final = 0.02
"""Jobs that take longer are never leased ahead."""
LONG_S: Final = 0.1
"""One run as long as this is no outlier: nothing is leased ahead until many short ones were seen."""
_FETCH_S: Final = (0.005, 0.05)
MAX_UNREPORTED: Final = 1024
"""With more outcomes on their way than this, fewer jobs are leased: all that is held must fit into one beat."""
_DECAY: Final = 0.05
_UNKNOWN_S: Final = 1.0


class Slots:
    """Counts jobs that run, that wait for a slot, and that a lease request under way may bring."""

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.running = 0
        self.waiting = 0
        self._unreported = 0
        self._asked = 0
        self._typical_s = _UNKNOWN_S
        self._fetch_s = _FETCH_S[0]
        self._askers: deque[asyncio.Future[None]] = deque()

    @property
    def capacity(self) -> int:
        """Slots, and how many jobs may be leased ahead of them: none before many short runs were seen."""
        return self.concurrency + self._ahead()

    @property
    def room(self) -> int:
        """How many jobs may be asked for now."""
        behind = max(0, self._unreported - MAX_UNREPORTED)
        return self.capacity - self.running - self.waiting - self._asked - behind

    async def ask(self, most: int) -> int:
        """Reserve room for 1 to `most` jobs as soon as there is some, in order of asking, until `answered`."""
        while self._askers or self.room < 1:
            turn = asyncio.get_running_loop().create_future()
            self._askers.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._askers:
                    self._askers.remove(turn)
                self._invite()
                raise
            if self.room >= 1:
                break
        reserved = min(most, self.room)
        self._asked += reserved
        self._invite()
        return reserved

    def answered(self, reserved: int) -> None:
        """The request for so many is over; the jobs that came are `running` or `waiting` in the same breath."""
        self._asked -= reserved
        self._invite()

    def fetched(self, took_s: float) -> None:
        """Jobs that were there already came after that time."""
        self._fetch_s += (took_s - self._fetch_s) * _DECAY

    def ended(self, ran_s: float) -> None:
        """A run ended after that time."""
        self.running -= 1
        self._typical_s = ran_s if ran_s >= LONG_S else self._typical_s + (ran_s - self._typical_s) * _DECAY
        self._invite()

    def reporting(self) -> None:
        """An outcome is on its way."""
        self._unreported += 1

    def reported(self) -> None:
        """An outcome needs no more telling."""
        self._unreported -= 1
        self._invite()

    def stalled(self) -> None:
        """Jobs leased ahead did not get their slot: lease none ahead until many short runs were seen again."""
        self._typical_s = max(_UNKNOWN_S, self._typical_s)

    def _ahead(self) -> int:
        """So many that the last waits no longer for its slot than fetching it when the slot is free would take."""
        if self._typical_s >= SHORT_S:
            return 0
        wait_s = min(max(self._fetch_s, _FETCH_S[0]), _FETCH_S[1])
        return min(MAX_AHEAD, int(self.concurrency * wait_s / max(self._typical_s, 1e-6)))

    def _invite(self) -> None:
        """Wake the first asker when there is room; it wakes the next."""
        while self._askers and self.room >= 1:
            turn = self._askers.popleft()
            if not turn.done():
                turn.set_result(None)
                return
