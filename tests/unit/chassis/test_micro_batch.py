"""Micro-batches: what arrives during one batch is the next one."""

import asyncio
from collections.abc import Sequence

import pytest

from jobplane.chassis.micro_batch import MicroBatch


class Desk:
    """Works on batches when told to, and remembers them."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.under_way = 0

    async def work(self, items: Sequence[int]) -> list[int]:
        self.under_way += 1
        assert self.under_way == 1, "one batch at a time"
        self.batches.append(list(items))
        await self.open.wait()
        self.under_way -= 1
        if -1 in items:
            raise ValueError("a bad batch")
        return [10 * item for item in items]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def begun(desk: Desk, batches: int = 1) -> None:
    while len(desk.batches) < batches:
        await asyncio.wait({asyncio.ensure_future(_turn())})


async def _turn() -> None:
    """Let others run once."""


async def test_what_arrives_meanwhile_is_the_next_batch(desk: Desk) -> None:
    micro = MicroBatch(desk.work)
    first = asyncio.create_task(micro.submit(1))
    await begun(desk)
    others = [asyncio.create_task(micro.submit(n)) for n in (2, 3, 4)]
    await asyncio.wait({asyncio.ensure_future(_turn())})
    assert len(micro) == 3
    desk.open.set()
    assert await asyncio.gather(first, *others) == [10, 20, 30, 40]
    assert desk.batches == [[1], [2, 3, 4]]


async def test_a_batch_has_a_largest_size_and_order_is_kept(desk: Desk) -> None:
    desk.open.set()
    micro = MicroBatch(desk.work, most=4)
    assert await asyncio.gather(*(micro.submit(n) for n in range(10))) == [10 * n for n in range(10)]
    assert desk.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_a_failing_batch_fails_its_callers_and_no_others(desk: Desk) -> None:
    desk.open.set()
    micro = MicroBatch(desk.work, most=2)
    answers = await asyncio.gather(*(micro.submit(n) for n in (1, -1, 3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError, int]
    assert await micro.submit(5) == 50


async def test_a_caller_that_gave_up_disturbs_nobody(desk: Desk) -> None:
    micro = MicroBatch(desk.work)
    gone = asyncio.create_task(micro.submit(1))
    stays = asyncio.create_task(micro.submit(2))
    await begun(desk)
    gone.cancel()
    desk.open.set()
    assert await stays == 20
    await micro.idle()
    assert gone.cancelled()


async def test_idle_waits_for_everything(desk: Desk) -> None:
    micro = MicroBatch(desk.work)
    await micro.idle()
    tasks = [asyncio.create_task(micro.submit(n)) for n in (1, 2)]
    await begun(desk)
    waiting = asyncio.create_task(micro.idle())
    desk.open.set()
    await waiting
    assert len(micro) == 0
    assert await asyncio.gather(*tasks) == [10, 20]
