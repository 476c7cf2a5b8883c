"""Events become counts per minute, queue and kind."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.job_events import CommandRefused
from jobplane.health.throughput import Cell, Counts, cell_of, is_counted, rate, tally
from tests.support.events import NOON, lifecycle, record


def counts(events: list[EventRecord]) -> dict[Cell, Counts]:
    return tally((cell_of(event), event.type) for event in events)


def test_a_whole_job_is_counted_in_its_minutes() -> None:
    late = lifecycle(1, at=NOON + timedelta(seconds=59), queue="images", kind="image.metadata")
    first, second = (
        Cell(NOON, "images", "image.metadata"),
        Cell(NOON + timedelta(minutes=1), "images", "image.metadata"),
    )
    assert counts(late) == {first: Counts(created=1), second: Counts(started=1, completed=1)}


def test_queues_and_kinds_are_counted_apart() -> None:
    events = [*lifecycle(1, queue="a"), *lifecycle(4, queue="b"), *lifecycle(7, queue="b", kind="other", failed=True)]
    assert counts(events) == {
        Cell(NOON, "a", "image.thumbnail"): Counts(1, 1, 1, 0),
        Cell(NOON, "b", "image.thumbnail"): Counts(1, 1, 1, 0),
        Cell(NOON, "b", "other"): Counts(1, 1, 0, 1),
    }


def test_other_events_are_not_counted() -> None:
    assert not is_counted(record(1, CommandRefused(command="retry", code="x")))


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"queue": 1, "kind": "x"}', b'{"queue": "a\\u0000", "kind": "x"}'])
def test_a_body_without_queue_and_kind_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        cell_of(replace(lifecycle(1)[0], data=data))


def test_the_error_rate_is_that_of_ended_runs() -> None:
    assert rate(NOON, Counts(created=9, started=9, completed=3, failed=1)).error_rate == 0.25
    assert rate(NOON, Counts(created=9, started=9)).error_rate is None


@given(st.lists(st.integers(0, 600), max_size=30), st.integers(0, 90))
def test_counting_in_two_parts_gives_the_same_sum(seconds: list[int], cut: int) -> None:
    events = [event for s in seconds for event in lifecycle(1, at=NOON + timedelta(seconds=s), failed=s % 3 == 0)]
    whole, left, right = counts(events), counts(events[:cut]), counts(events[cut:])
    for cell, found in whole.items():
        a, b = left.get(cell, Counts()), right.get(cell, Counts())
        assert found == Counts(
            a.created + b.created, a.started + b.started, a.completed + b.completed, a.failed + b.failed
        )
    assert sum(found.created for found in whole.values()) == len(seconds)
