"""Threads for handlers that block: daemons, so that one which never returns cannot keep a finished worker alive."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Task = Callable[[], None]


class Threads:
    """At most `most` threads, started when they are first needed (an executor's would be joined at exit)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._started = 0
        self._idle = 0
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the function in a thread, with the caller's context variables, so that its spans and log lines fit."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        context = contextvars.copy_context()
        self._submit(partial(_call, loop, done, partial(context.run, function, *args, **kwargs)))
        return await done

    def close(self) -> None:
        """Let idle threads end; busy ones end after their task, or with the process."""
        with self._lock:
            for _ in range(self._started):
                self._tasks.put(None)

    def _submit(self, task: _Task) -> None:
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._started < self._most:
                self._started += 1
                threading.Thread(target=self._work, name=f"handler-{self._started}", daemon=True).start()
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            with self._lock:
                self._idle += 1


def _call(loop: asyncio.AbstractEventLoop, done: "asyncio.Future[T]", function: Callable[[], T]) -> None:
    settle: Callable[[], None]
    try:
        settle = partial(_answer, done, function())
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises belongs to its job, even SystemExit
        settle = partial(_raise, done, error)
    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        return  # the worker ended first; nobody waits for the answer


def _answer(done: "asyncio.Future[T]", value: T) -> None:
    if not done.done():
        done.set_result(value)


def _raise(done: "asyncio.Future[T]", error: BaseException) -> None:
    if done.done():
        return
    if isinstance(error, StopIteration):  # a future refuses it
        error = RuntimeError(f"handler raised StopIteration({error.value!r})")
    done.set_exception(error)
