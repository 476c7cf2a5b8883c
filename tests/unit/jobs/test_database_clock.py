from datetime import UTC, datetime, timedelta

import pytest

from jobplane.jobs import database_clock
from jobplane.jobs.database_clock import DatabaseClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the machine, in seconds."""
    now = [100.0]
    monkeypatch.setattr(database_clock, "_now_s", lambda: now[0])
    return now


def test_what_was_never_heard_is_not_known(machine: list[float]) -> None:
    assert DatabaseClock().now() is None


def test_it_goes_on_a_little_late(machine: list[float]) -> None:
    clock = DatabaseClock()
    clock.hear(NOON)
    machine[0] += 1
    assert clock.now() == NOON + timedelta(seconds=0.995)


def test_it_never_goes_back(machine: list[float]) -> None:
    clock = DatabaseClock()
    clock.hear(NOON)
    assert clock.now() == NOON
    machine[0] += 1
    before = clock.now()
    machine[0] -= 0.5
    assert clock.now() == before


def test_another_database_is_believed(machine: list[float]) -> None:
    clock = DatabaseClock()
    clock.hear(NOON)
    clock.hear(NOON - timedelta(hours=1))
    assert clock.now() == NOON - timedelta(hours=1)


def test_after_some_seconds_it_must_be_heard_again(machine: list[float]) -> None:
    clock = DatabaseClock()
    clock.hear(NOON)
    machine[0] += 5.1
    assert clock.now() is None
    clock.hear(NOON)
    assert clock.now() == NOON
