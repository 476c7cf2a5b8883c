"""An event loop whose time is virtual and whose next step is chosen by dice; so a seed is a whole history.

Everything that ends together is a `Process`. What one process has to do is done in the order in which it came up, as in
every event loop; which process goes on next is a throw of the dice. When nobody can, time jumps to the next timer.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Final, Protocol, TypeVar, cast

Result = TypeVar("Result")


MOST_STEPS: Final = 200_000


class Standstill(Exception):
    """Nobody can go on, ever: all wait, and no timer runs."""


class Endless(Exception):
    """Somebody goes on and on."""


class Process:
    """Tasks and timers that end together, when the process is killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.ready: deque[Call] = deque()
        self.context = copy_context()
        self.context.run(PROCESS.set, self)
        self._tasks: list[tuple[asyncio.Task[Any], Context]] = []

    def started(self, task: asyncio.Task[Any], context: Context) -> None:
        """Remember a task, and forget those that have ended."""
        self._tasks.append((task, context))
        if len(self._tasks) % 64 == 0:
            self._tasks = [(task, context) for task, context in self._tasks if not task.done()]

    def end(self) -> None:
        """Nothing of it goes on, as after kill -9: what it awaited never comes."""
        self.alive = False
        self.ready.clear()
        tasks, self._tasks = self._tasks, []
        for task, context in tasks:
            if not task.done():
                context.run(_drop, task)


def _drop(task: asyncio.Task[Any]) -> None:
    coroutine = cast("Coroutine[Any, Any, Any]", task.get_coro())
    with contextlib.suppress(RuntimeError):  # it wants to await something before it ends: the dead do not
        coroutine.close()
    cast("_Forgotten", task)._log_destroy_pending = False


class _Forgotten(Protocol):
    """What `asyncio.gather` uses too for tasks that nobody shall be warned of."""

    _log_destroy_pending: bool


OUTSIDE: Final = "outside"
PROCESS: ContextVar[Process] = ContextVar("simulated_process")


class Call:
    """What a loop gives for something to be called: asyncio only ever cancels it, or asks when it is due."""

    __slots__ = ("_args", "_callback", "_when", "context", "dead")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float) -> None:
        self._callback = callback
        self._args = args
        self._when = when
        self.context = context
        self.dead = False

    def cancel(self) -> None:
        self.dead = True

    def cancelled(self) -> bool:
        return self.dead

    def when(self) -> float:
        return self._when

    def run(self) -> None:
        self.context.run(self._callback, *self._args)


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs processes; `now` is virtual and in seconds."""

    def __init__(self, dice: Random) -> None:
        self._running = False
        super().__init__()
        self.now = 0.0
        self.steps = 0
        self.problems: list[str] = []
        """What nobody caught."""
        self._dice = dice.random
        self._runnable: list[Process] = []
        self._timers: list[tuple[float, int, Call | asyncio.Future[None]]] = []
        self._numbers = 0
        self.outside = Process(OUTSIDE)
        """What nobody kills."""

    def time(self) -> float:
        return self.now

    def kill(self, process: Process) -> None:
        """End a process at once, wherever it is."""
        if process in self._runnable:
            self._runnable.remove(process)
        process.end()

    def freeze(self, process: Process) -> None:
        """Let nothing of it go on, as after SIGSTOP; what happens meanwhile waits for it."""
        process.frozen = True
        if process in self._runnable:
            self._runnable.remove(process)

    def thaw(self, process: Process) -> None:
        """Let it go on."""
        if process.frozen:
            process.frozen = False
            if process.alive and process.ready:
                self._runnable.append(process)

    def run(self, main: Coroutine[Any, Any, Result]) -> Result:
        """Run until `main` has ended.

        Raises:
            Standstill: it never will, because nobody does anything.
            Endless: it never will, because somebody does not end.
        """
        asyncio._set_running_loop(self)
        self._running = True
        try:
            task = self.create_task(main)
            while not task.done():
                self._step()
                if self.steps > MOST_STEPS:
                    raise Endless
            return task.result()
        finally:
            self._running = False
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        runnable = self._runnable
        if not runnable:
            self._advance()
            return
        place = int(self._dice() * len(runnable)) if len(runnable) > 1 else 0
        process = runnable[place]
        call = process.ready.popleft()
        if not process.ready:  # the last of the list takes its place
            runnable[place] = runnable[-1]
            runnable.pop()
        if call.dead:
            return
        self.steps += 1
        try:
            call.run()
        except Exception as error:  # noqa: BLE001 - whatever nobody caught is a bug of somebody, not of the loop
            self.problems.append(f"{process.name}: {error!r}")

    def _advance(self) -> None:
        """Nobody has anything to do: it is the time of the next timer, and of those of the same instant."""
        timers = self._timers
        if not timers:
            raise Standstill
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            waiting = heapq.heappop(timers)[2]
            if isinstance(waiting, Call):
                if not waiting.dead:
                    self._enqueue(waiting)
            else:
                _wake(waiting)

    def _enqueue(self, call: Call) -> None:
        process = call.context.get(PROCESS, self.outside)
        if process.alive:
            if not process.ready and not process.frozen:
                self._runnable.append(process)
            process.ready.append(call)

    async def pass_time(self, seconds: float) -> None:
        """`asyncio.sleep`, at a third of the price: it is what a simulation does most."""
        future = self.create_future()
        if seconds <= 0:
            self.call_soon(_wake, future)
        else:
            self._numbers += 1
            heapq.heappush(self._timers, (self.now + seconds, self._numbers, future))
        await future

    # What asyncio asks of a loop. BaseEventLoop annotates its own far more loosely than needed here.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        call = Call(callback, args, context or copy_context(), self.now)
        self._enqueue(call)
        return call

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Call:
        call = Call(callback, args, context or copy_context(), when)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, call))
        return call

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Result], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Result]:
        context = context or copy_context()
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        context.get(PROCESS, self.outside).started(task, context)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Whatever nobody caught is a bug."""
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    def is_running(self) -> bool:
        return self._running

    def get_debug(self) -> bool:
        return False

    def shut(self) -> None:
        """Forget everything."""
        self.outside.end()
        self._runnable.clear()
        self._timers.clear()
        self.close()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
