"""Counting refusals: twenty alike in a minute are told one by one, the others together."""

from datetime import UTC, datetime, timedelta

import pytest

from jobplane.chassis.refusals import EVENTS_PER_MINUTE, Tally

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY = ("admin", "job_finished")


@pytest.fixture
def tally() -> Tally[tuple[str, str], int]:
    return Tally()


def add(tally: Tally[tuple[str, str], int], times: int, *, first: int = 1) -> list[bool]:
    return [tally.add(KEY, first + n, NOON) for n in range(times)]


def test_the_first_twenty_are_told_one_by_one(tally: Tally[tuple[str, str], int]) -> None:
    assert add(tally, 25) == [True] * EVENTS_PER_MINUTE + [False] * 5


def test_the_others_are_told_together_when_the_minute_is_over(tally: Tally[tuple[str, str], int]) -> None:
    add(tally, 25)
    assert tally.due(NOON + MINUTE - timedelta(seconds=1)) == []
    assert tally.due(NOON + MINUTE) == [(KEY, 25, 5)]
    assert tally.due(NOON + 2 * MINUTE) == []
    assert add(tally, 1) == [True]


def test_a_minute_without_too_many_leaves_nothing_to_tell(tally: Tally[tuple[str, str], int]) -> None:
    add(tally, 20)
    assert tally.due(NOON + MINUTE) == []
    assert tally.rest() == []


def test_keys_are_counted_apart(tally: Tally[tuple[str, str], int]) -> None:
    add(tally, 21)
    assert tally.add(("admin", "job_not_found"), 1, NOON)
    assert tally.rest() == [(KEY, 21, 1)]


def test_the_end_closes_everything(tally: Tally[tuple[str, str], int]) -> None:
    add(tally, 22)
    assert tally.rest() == [(KEY, 22, 2)]
    assert tally.rest() == []


def test_what_was_rolled_back_was_not_counted(tally: Tally[tuple[str, str], int]) -> None:
    def attempt(times: int) -> list[bool]:
        with tally.attempt() as count:
            answers = [count(KEY, 1, NOON) for _ in range(times)]
            raise RuntimeError(str(answers))

    for _ in range(3):
        with pytest.raises(RuntimeError, match="True"):
            attempt(30)
    assert tally.rest() == []
    assert add(tally, 21) == [True] * 20 + [False]


def test_what_was_committed_is_counted(tally: Tally[tuple[str, str], int]) -> None:
    with tally.attempt() as count:
        answers = [count(KEY, n, NOON) for n in range(23)]
    assert answers == [True] * 20 + [False] * 3
    assert tally.due(NOON + MINUTE) == [(KEY, 22, 3)]


def test_a_summary_that_could_not_be_recorded_comes_again(tally: Tally[tuple[str, str], int]) -> None:
    add(tally, 25)
    summary = tally.due(NOON + MINUTE)
    add(tally, 21, first=100)
    tally.put_back(summary, NOON + MINUTE)
    assert tally.rest() == [(KEY, 120, 6)]
    tally.put_back(summary, NOON + MINUTE)
    assert tally.due(NOON + 2 * MINUTE) == summary
