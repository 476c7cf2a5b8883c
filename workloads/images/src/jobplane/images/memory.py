"""How much memory decoded pictures may take together: who would go beyond it waits for its turn."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

BYTES_PER_PIXEL: Final = 16
"""Decoded, turned, converted and about to be encoded, a picture exists up to four times with 4 bytes a pixel."""


class Memory:
    """Handed out in order of asking, so that small pictures cannot keep a large one waiting for ever."""

    def __init__(self) -> None:
        self._taken = 0
        self._turns: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def share(self, needed: int, *, of: int) -> Iterator[None]:
        """Wait until so many bytes of all are free, and hold them; never more than there are in all."""
        turn = object()
        with self._changed:
            self._turns.append(turn)
            try:
                self._changed.wait_for(lambda: self._turns[0] is turn and self._taken + needed <= of)
                self._taken += needed
            finally:
                self._turns.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= needed
                self._changed.notify_all()
