"""Background loops of one shape: `start`, `stop`, `nudge`, and a `run_once` that tests call directly."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from jobplane.chassis import tasks

log = structlog.get_logger()

_SLOWEST_S = 30.0
_FIRST_BACKOFF_S = 0.5


class Loop:
    """Calls `run_once` every `every_s` seconds, counted from the end of the last call, so calls never overlap.

    An exception ends that call, not the loop: it is logged when it first happens (not again while the same one
    repeats), and the next call waits longer and longer, up to 30 s.
    """

    def __init__(self, name: str, run_once: Callable[[], Awaitable[object]], every_s: float) -> None:
        self.name = name
        self._run_once = run_once
        self._every_s = every_s
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._last_failure = ""

    @property
    def failing(self) -> str | None:
        """What the last call died of, none if it succeeded."""
        return self._last_failure or None

    def start(self) -> None:
        """Begin at once. Does nothing while it runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"loop {self.name}")

    async def stop(self) -> None:
        """Cancel the call under way, if any, and return when it has ended."""
        task, self._task = self._task, None
        if task is not None:
            await tasks.end(task)

    def nudge(self) -> None:
        """Call now; during a call: once more right after it. Also ends the waiting after failures."""
        self._wanted.set()

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            await self._call()
            try:
                async with asyncio.timeout(self._pause_s()):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def _call(self) -> None:
        try:
            await self._run_once()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            self._failures += 1
            if failure != self._last_failure:
                log.exception("loop.failed", loop=self.name)
            self._last_failure = failure
            return
        if self._failures:
            log.info("loop.recovered", loop=self.name, failures=self._failures)
        self._failures = 0
        self._last_failure = ""

    def _pause_s(self) -> float:
        if not self._failures:
            return self._every_s
        return max(self._every_s, min(_SLOWEST_S, _FIRST_BACKOFF_S * 2.0 ** min(self._failures - 1, 10)))
