"""How long to wait before asking again."""

import asyncio
import random
from typing import Final

_FIRST_S: Final = 0.1
_LONGEST_S: Final = 2.0


class Pauses:
    """Pauses that double up to 2 s, with jitter, so that many workers do not come back in step."""

    def __init__(self) -> None:
        self._next_s = _FIRST_S

    async def pause(self, pause_s: float | None = None) -> None:
        """Wait for the next pause, or for the given one."""
        length_s = self._next_s if pause_s is None else pause_s
        self._next_s = min(2 * self._next_s, _LONGEST_S)
        await asyncio.sleep(length_s * random.uniform(0.75, 1.25))  # noqa: S311 - jitter is no secret
