"""The clock of the database, told without asking it again."""

import time
from datetime import datetime, timedelta
from typing import Final

_TRUSTED_S: Final = 60.0
"""Two clocks drift apart by some milliseconds in that time."""


class DatabaseClock:
    """Goes on from what the database told last; late by as long as that answer was under way, so never ahead."""

    def __init__(self) -> None:
        self._heard: datetime | None = None
        self._heard_s = 0.0

    def hear(self, now: datetime) -> None:
        """What the database just told."""
        self._heard, self._heard_s = now, time.monotonic()

    def now(self) -> datetime | None:
        """What time it is there; none if it was not heard lately."""
        since_s = time.monotonic() - self._heard_s
        if self._heard is None or since_s > _TRUSTED_S:
            return None
        return self._heard + timedelta(seconds=since_s)
