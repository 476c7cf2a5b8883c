"""The deterministic scheduler itself: virtual time, order within a process, dice between them, death and frost."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

import pytest

from tests.simulation.loop import Endless, Process, SimulatedLoop, Standstill

Result = TypeVar("Result")


def live(main: Callable[[SimulatedLoop], Coroutine[Any, Any, Result]], seed: int = 1) -> Result:
    loop = SimulatedLoop(Random(seed))
    try:
        return loop.run(main(loop))
    finally:
        loop.shut()
        assert loop.problems == []


def start(loop: SimulatedLoop, process: Process, work: Coroutine[Any, Any, Any]) -> None:
    loop.create_task(work, context=process.context.copy())


def test_time_costs_nothing_and_is_exact() -> None:
    async def main(loop: SimulatedLoop) -> list[float]:
        await asyncio.sleep(3600)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await loop.create_future()
        return [loop.time()]

    assert live(main) == [3660]


def test_a_process_keeps_its_order_and_the_dice_decide_between_processes() -> None:
    async def main(loop: SimulatedLoop) -> str:
        told: list[str] = []
        for name in ("a", "b"):
            process = Process(name)
            for number in range(4):
                loop.call_soon(told.append, f"{name}{number}", context=process.context)
        await asyncio.sleep(1)
        return " ".join(told)

    orders = {live(main, seed) for seed in range(20)}
    assert len(orders) > 5
    for order in orders:
        for name in ("a", "b"):
            assert [word for word in order.split() if word[0] == name] == [f"{name}{number}" for number in range(4)]


def test_the_same_dice_are_the_same_order() -> None:
    async def main(loop: SimulatedLoop) -> list[str]:
        told: list[str] = []
        for name in "abcdef":
            loop.call_soon(told.append, name, context=Process(name).context)
        await asyncio.sleep(0)
        return told

    assert live(main, 3) == live(main, 3)


def test_the_dead_do_nothing_more() -> None:
    async def main(loop: SimulatedLoop) -> list[str]:
        told: list[str] = []

        async def work() -> None:
            try:
                for number in range(5):
                    told.append(f"step {number}")
                    await asyncio.sleep(1)
            finally:
                told.append("clears up what is in memory")
                await loop.pass_time(0)
                told.append("goes on")

        process = Process("victim")
        start(loop, process, work())
        await asyncio.sleep(1.5)
        loop.kill(process)
        await asyncio.sleep(10)
        return told

    assert live(main) == ["step 0", "step 1", "clears up what is in memory"]


def test_the_frozen_go_on_where_they_were() -> None:
    async def main(loop: SimulatedLoop) -> list[float]:
        told: list[float] = []

        async def work() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                told.append(loop.time())

        process = Process("frozen")
        start(loop, process, work())
        await asyncio.sleep(1.5)
        loop.freeze(process)
        loop.freeze(process)
        await asyncio.sleep(10)
        loop.thaw(process)
        loop.thaw(process)
        await asyncio.sleep(5)
        return told

    assert live(main) == [1, 11.5, 12.5]


def test_a_world_in_which_nobody_can_go_on_is_told() -> None:
    async def main(loop: SimulatedLoop) -> None:
        await loop.create_future()

    with pytest.raises(Standstill):
        live(main)


def test_a_world_in_which_somebody_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.loop.MOST_STEPS", 100)

    async def main(loop: SimulatedLoop) -> None:
        while True:
            await loop.pass_time(0)

    with pytest.raises(Endless):
        live(main)


def test_what_nobody_catches_is_kept() -> None:
    loop = SimulatedLoop(Random(1))

    async def main() -> None:
        loop.call_soon(int, "no number")
        await asyncio.sleep(1)

    loop.run(main())
    loop.shut()
    assert loop.problems == ["outside: ValueError(\"invalid literal for int() with base 10: 'no number'\")"]
