"""Ctrl-C, SIGTERM and the ends of children, as something a select loop can wait for."""

import os
import signal
from types import FrameType


class Signals:
    """Notes the wish to end; `channel` becomes readable at every signal."""

    def __init__(self) -> None:
        self.stop_asked = 0
        """How often; the second time means at once."""
        self.channel, self._write = os.pipe()
        os.set_blocking(self.channel, False)
        os.set_blocking(self._write, False)

    def listen(self) -> None:
        """Take the signals over; only the main thread may."""
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def drain(self) -> None:
        """Forget what made `channel` readable."""
        os.read(self.channel, 4096)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_asked += 1
