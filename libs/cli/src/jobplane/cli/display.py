"""The start-up display: on a terminal a live table, elsewhere one line for each thing that is ready."""

import time
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

_WAITING: Final = "…"
_DONE: Final = "✓"


class StartDisplay:
    """A `Reporter`. Nothing runs in the background: it draws when it is told something."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._started: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def starting(self, name: str) -> None:
        """Show that it begins."""
        self._started[name] = time.monotonic()
        self._draw()

    def ready(self, name: str) -> None:
        """Show that it is ready, and how long it took."""
        now = time.monotonic()
        self._took[name] = now - self._started.get(name, now)
        if self._live is None:
            self._console.print(f"  {_DONE} {name:<14} {self._took[name]:5.1f} s")
        self._draw()

    def say(self, sentence: str) -> None:
        """One line, above the table while that is live."""
        self._console.print(Text(f"jobplane: {sentence}"), soft_wrap=True)

    def finish(self) -> float:
        """Leave the table as it is; returns the seconds since the beginning."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        return time.monotonic() - self._began

    def _draw(self) -> None:
        if self._live is None:
            return
        table = Table.grid(padding=(0, 2))
        for name in self._started:
            took = self._took.get(name)
            mark = Text(_WAITING, style="yellow") if took is None else Text(_DONE, style="green")
            seconds = "" if took is None else f"{took:.1f} s"
            table.add_row(Text(" "), mark, name, Text(seconds, style="dim"))
        self._live.update(table, refresh=True)
