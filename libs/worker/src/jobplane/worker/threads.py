"""Threads for handlers that block: daemons, so that one which never returns cannot keep a finished worker alive."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
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
        """Call the function in a thread; who gives up before its turn came has it never called."""
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue the function, with the caller's context variables, so that its spans and log lines fit."""
        call: Future[T] = Future()
        context = contextvars.copy_context()
        self._put(partial(_run, call, partial(context.run, function, *args, **kwargs)))
        return call

    def close(self) -> None:
        """Let idle threads end; busy ones end after their task, or with the process."""
        with self._lock:
            for _ in range(self._started):
                self._tasks.put(None)

    def _put(self, task: _Task) -> None:
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


def _run(call: Future[T], function: Callable[[], T]) -> None:
    if not call.set_running_or_notify_cancel():
        return  # nobody waits any more
    try:
        value = function()
    except StopIteration as error:  # whoever awaits could not be given it
        call.set_exception(RuntimeError(f"handler raised StopIteration({error.value!r})"))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises belongs to its job, even SystemExit
        call.set_exception(error)
    else:
        call.set_result(value)
