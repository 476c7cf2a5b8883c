"""A pace delays the second of two batches, not the first after a rest."""

import asyncio

import pytest

from jobplane.chassis.pace import Pace


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only sleeping moves, and how long was slept."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr("jobplane.chassis.pace.time.monotonic", lambda: 100.0 + sum(waits))
    return waits


async def test_the_first_batch_begins_at_once_and_the_next_one_in_its_turn(slept: list[float]) -> None:
    turns = Pace(0.25)
    await turns.begin()
    assert slept == []
    await turns.begin()
    await turns.begin()
    assert slept == [0.25, 0.25]


async def test_after_a_rest_nobody_waits(slept: list[float]) -> None:
    turns = Pace(0.25)
    await turns.begin()
    slept.append(0.3)
    await turns.begin()
    assert slept == [0.3]
