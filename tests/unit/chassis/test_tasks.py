"""A task that is ended has ended."""

import asyncio

import pytest

from jobplane.chassis import tasks


@pytest.mark.parametrize("swallowed", [0, 1, 3])
async def test_a_task_that_loses_a_cancellation_is_cancelled_again(
    swallowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_S", 0.01)
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                if lost == swallowed:
                    raise
                lost += 1

    task = asyncio.create_task(work())
    await asyncio.wait({task}, timeout=0.01)
    await tasks.end(task)
    assert task.cancelled()
    assert lost == swallowed


async def test_a_task_that_has_failed_needs_no_end() -> None:
    async def fail() -> None:
        raise ValueError("done")

    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    await tasks.end(task)
    assert isinstance(task.exception(), ValueError)
