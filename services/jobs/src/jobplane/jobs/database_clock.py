"""The clock of the database, told without asking it again."""

import time
from datetime import datetime, timedelta
from typing import Final

_TRUSTED_S: Final = 5.0
_MARGIN_S: Final = 0.005
"""Two clocks drift apart by less in that time, also while one of them is being set right."""


class DatabaseClock:
    """Goes on from what the database told last, a little late rather than ahead.

    Ahead it would be only of another database: behind a fail-over to one whose clock is behind.
    """

    def __init__(self) -> None:
        self._heard: datetime | None = None
        self._heard_s = 0.0
        self._told: datetime | None = None

    def hear(self, now: datetime) -> None:
        """What the database just told."""
        self._heard, self._heard_s = now, _now_s()
        self._told = now

    def now(self) -> datetime | None:
        """What time it is there; none if it was not heard lately."""
        since_s = _now_s() - self._heard_s
        if self._heard is None or since_s > _TRUSTED_S:
            return None
        now = self._heard + timedelta(seconds=since_s - _MARGIN_S)
        self._told = now if self._told is None else max(self._told, now)  # what is made later is not older
        return self._told


def _now_s() -> float:
    """Seconds that have passed, also while the machine was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
