"""Pace: under load one batch every few milliseconds, so that each is worth its round trips; at rest no delay at all."""

import asyncio
import time
from typing import Final

EVERY_S: Final = 0.005


class Pace:
    """Lets a batch begin at most every `every_s` seconds; what comes after a longer rest begins at once.

    A transaction or a publication costs about the same for one item as for ten (group commit; compare `commit_delay`
    of PostgreSQL). Without a pace a busy service takes its items one by one, and is busy because of that.
    """

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._began = 0.0

    async def begin(self) -> None:
        """Wait for the turn of the next batch."""
        wait = self._began + self._every_s - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        self._began = time.monotonic()
