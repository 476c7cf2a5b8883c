"""Slots: never more than there is room for, a few ahead only while jobs are short."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from jobplane.worker.slots import MAX_AHEAD, MAX_UNREPORTED, SHORT_S, Slots


def run(slots: Slots, ran_s: float, times: int = 1) -> None:
    for _ in range(times):
        slots.running += 1
        slots.ended(ran_s)


async def test_no_more_is_asked_for_than_is_free() -> None:
    slots = Slots(4)
    assert await slots.ask(3) == 3
    assert await slots.ask(3) == 1
    assert slots.room == 0


async def test_who_asks_while_all_is_taken_waits_for_its_turn() -> None:
    slots = Slots(1)
    assert await slots.ask(1) == 1
    order: list[str] = []

    async def ask(name: str) -> None:
        await slots.ask(1)
        order.append(name)

    first, second = asyncio.create_task(ask("first")), asyncio.create_task(ask("second"))
    await asyncio.wait({first, second}, timeout=0)
    assert order == []
    slots.answered(1)
    await first
    assert order == ["first"]
    slots.answered(1)
    await second
    assert order == ["first", "second"]


async def test_one_who_gives_up_does_not_hold_up_the_others() -> None:
    slots = Slots(1)
    await slots.ask(1)
    first, second = asyncio.create_task(slots.ask(1)), asyncio.create_task(slots.ask(1))
    await asyncio.wait({first, second}, timeout=0)
    slots.answered(1)  # invites the first, who leaves in the same breath
    first.cancel()
    assert await second == 1


def test_nothing_is_leased_ahead_before_many_short_runs_were_seen() -> None:
    slots = Slots(8)
    assert slots.capacity == 8
    run(slots, 0.0001, times=10)
    assert slots.capacity == 8
    run(slots, 0.0001, times=200)
    assert slots.capacity == 8 + MAX_AHEAD


def test_one_long_run_ends_it() -> None:
    slots = Slots(8)
    run(slots, 0.0001, times=300)
    run(slots, 2.0)
    assert slots.capacity == 8


def test_a_slot_that_did_not_come_ends_it() -> None:
    slots = Slots(8)
    run(slots, 0.0001, times=300)
    slots.stalled()
    assert slots.capacity == 8


def test_a_worker_whose_reports_are_not_answered_takes_less() -> None:
    slots = Slots(4)
    for _ in range(MAX_UNREPORTED + 3):
        slots.reporting()
    assert slots.room == 1
    slots.reported()
    assert slots.room == 2


def test_jobs_that_take_their_time_are_not_leased_ahead() -> None:
    slots = Slots(8)
    run(slots, SHORT_S, times=1000)
    assert slots.capacity == 8


@given(st.integers(1, 64), st.floats(0, 0.02), st.floats(0, 1))
def test_what_is_leased_ahead_waits_no_longer_than_its_fetch_would_take(
    concurrency: int, ran_s: float, fetch_s: float
) -> None:
    slots = Slots(concurrency)
    run(slots, ran_s, times=300)
    for _ in range(300):
        slots.fetched(fetch_s)
    ahead = slots.capacity - concurrency
    assert 0 <= ahead <= MAX_AHEAD
    assert ahead * ran_s / concurrency <= min(max(0.0051, 1.01 * fetch_s), 0.05)
