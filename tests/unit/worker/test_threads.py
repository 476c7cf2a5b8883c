"""Threads for handlers that block."""

import asyncio
import contextvars
import sys
import threading

import pytest

from jobplane.worker.threads import Threads

NAME = contextvars.ContextVar[str]("NAME")


async def test_an_answer_and_an_exception_come_back() -> None:
    threads = Threads(2)
    assert await threads.run(lambda a, b: a + b, 1, b=2) == 3
    with pytest.raises(KeyError):
        await threads.run(dict[str, int]().__getitem__, "missing")
    with pytest.raises(SystemExit):
        await threads.run(sys.exit)


async def test_a_thread_sees_what_its_caller_has_set() -> None:
    NAME.set("ada")
    assert await Threads(1).run(NAME.get) == "ada"


async def test_threads_are_used_again_and_are_never_more_than_told() -> None:
    threads = Threads(3)
    names = await asyncio.gather(*(threads.run(lambda: threading.current_thread().name) for _ in range(50)))
    assert set(names) <= {"handler-1", "handler-2", "handler-3"}
    names = [await threads.run(lambda: threading.current_thread().name) for _ in range(5)]
    assert len(names) == 5


async def test_who_gave_up_waiting_is_not_disturbed_by_the_answer() -> None:
    threads, entered, go = Threads(1), threading.Event(), threading.Event()

    def work() -> str:
        entered.set()
        go.wait()
        return "late"

    waiting = asyncio.create_task(threads.run(work))
    await asyncio.to_thread(entered.wait)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    assert await threads.run(lambda: "next") == "next"


async def test_what_nobody_waits_for_any_more_is_never_called() -> None:
    threads, entered, go, called = Threads(1), threading.Event(), threading.Event(), list[str]()

    def work() -> None:
        entered.set()
        go.wait()

    first = asyncio.create_task(threads.run(work))
    await asyncio.to_thread(entered.wait)
    queued = threads.submit(called.append, "queued")
    waiting = asyncio.wrap_future(queued)
    waiting.cancel()
    await asyncio.wait([waiting])
    go.set()
    await first
    await threads.run(called.append, "next")
    assert called == ["next"]
    assert queued.cancelled()


async def test_an_end_of_iteration_is_a_plain_failure() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await Threads(1).run(next, iter(()))


async def test_closed_threads_end() -> None:
    threads = Threads(1)
    thread = await threads.run(threading.current_thread)
    threads.close()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()
