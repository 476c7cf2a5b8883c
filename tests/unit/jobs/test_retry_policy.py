from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from jobplane.jobs.retry_policy import backoff

STEADY = 0.5


def test_the_wait_doubles_from_two_seconds() -> None:
    assert [backoff(attempt, STEADY).total_seconds() for attempt in (1, 2, 3, 4, 5)] == [2, 4, 8, 16, 32]


def test_the_wait_is_at_most_an_hour_before_jitter() -> None:
    assert backoff(11, STEADY) == timedelta(seconds=2048)
    assert backoff(12, STEADY) == backoff(100, STEADY) == timedelta(hours=1)


def test_jitter_moves_the_wait_by_a_quarter_to_either_side() -> None:
    assert backoff(3, 0.0) == timedelta(seconds=6)
    assert backoff(3, 1.0) == timedelta(seconds=10)


@settings(derandomize=True, deadline=None)
@given(attempt=st.integers(-5, 10_000), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_wait_is_never_below_its_floor_nor_above_its_cap_and_grows_with_jitter(
    attempt: int, low: float, high: float
) -> None:
    low, high = sorted((low, high))
    assert timedelta(seconds=1.5) <= backoff(attempt, low) <= backoff(attempt, high) <= timedelta(minutes=75)
