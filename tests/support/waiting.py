"""The one way tests wait: ask again until it is so, or say what was seen last."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")
_POLL_S = 0.01


class _Watch:
    """Remembers the last answer until the time is over."""

    def __init__(self, timeout: float) -> None:
        self._started = time.monotonic()
        self._timeout = timeout
        self.last: object = None

    def give_up_if_late(self) -> None:
        waited = time.monotonic() - self._started
        if waited <= self._timeout:
            return
        if isinstance(self.last, AssertionError):
            raise self.last
        message = f"still not so after {waited:.1f} s, seen last: {self.last!r}"
        raise AssertionError(message)


@overload
async def eventually(predicate: Callable[[], Awaitable[T | None]], timeout: float = 15.0) -> T: ...
@overload
async def eventually(predicate: Callable[[], T | None], timeout: float = 15.0) -> T: ...
async def eventually(predicate: Callable[[], T | Awaitable[T | None] | None], timeout: float = 15.0) -> T:
    """The first true answer of `predicate` (sync or async; a failed assertion inside counts as "not yet")."""
    watch = _Watch(timeout)
    while True:
        try:
            answer = predicate()
            value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
            watch.last = value
        except AssertionError as error:
            watch.last = error
        watch.give_up_if_late()
        await _pause()


async def _pause() -> None:
    loop = asyncio.get_running_loop()
    turn = loop.create_future()
    loop.call_later(_POLL_S, turn.set_result, None)
    await turn


def eventually_sync(predicate: Callable[[], T | None], timeout: float = 15.0) -> T:
    """The same, for tests of whole processes."""
    watch = _Watch(timeout)
    while True:
        try:
            value = predicate()
            if value:
                return value
            watch.last = value
        except AssertionError as error:
            watch.last = error
        watch.give_up_if_late()
        threading.Event().wait(_POLL_S)
