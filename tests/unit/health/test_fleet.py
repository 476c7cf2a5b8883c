"""A process is what its latest heartbeat and the clock make of it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.health.fleet import (
    Fleet,
    alive,
    checkpoints,
    heard,
    most_worrying,
    processes,
    serving,
    without_forgotten,
)
from tests.unit.health.beats import NOON, after, beat


@pytest.mark.parametrize(
    ("age_s", "expected"),
    [(0, "up"), (9.9, "up"), (10, "up"), (10.1, "late"), (20, "late"), (20.1, "down"), (599, "down")],
)
def test_a_process_is_late_after_two_missed_beats_and_down_after_four(age_s: float, expected: str) -> None:
    fleet = heard({}, beat(), NOON)
    assert [process.status for process in processes(fleet, after(age_s))] == [expected]


def test_a_process_that_said_goodbye_is_stopped_not_down() -> None:
    fleet = heard({}, beat(stopping=True, ready=False), NOON)
    assert processes(fleet, after(60))[0].status == "stopped"


def test_a_process_is_forgotten_after_ten_minutes() -> None:
    fleet = heard({}, beat(), NOON)
    assert len(processes(fleet, after(600))) == 1
    assert processes(fleet, after(601)) == []
    assert without_forgotten(fleet, after(601)) == {}


def test_a_beat_brings_a_process_back() -> None:
    fleet = heard(heard({}, beat(), NOON), beat(at=after(100)), after(100))
    assert processes(fleet, after(101))[0].status == "up"


def test_a_restarted_process_replaces_the_one_before_even_if_its_clock_went_back() -> None:
    fleet = heard({}, beat(at=after(50), stopping=True), after(50))
    fleet = heard(fleet, beat(at=after(1), pid=8, started_at=after(1)), after(51))
    (process,) = processes(fleet, after(52))
    assert (process.status, process.beat.pid) == ("up", 8)


def test_an_overtaken_beat_changes_nothing() -> None:
    fleet = heard({}, beat(at=after(5), stopping=True), after(5))
    assert heard(fleet, beat(at=after(4)), after(6)) == fleet


def test_a_sender_with_a_wrong_clock_is_not_late() -> None:
    fleet = heard({}, beat(at=NOON - timedelta(hours=3)), NOON)
    assert processes(fleet, after(1))[0].status == "up"


def test_processes_are_told_by_kind_and_instance() -> None:
    fleet: Fleet = {}
    for kind, instance in [("worker", "worker-2"), ("jobs", "jobs-1"), ("worker", "worker-1")]:
        fleet = heard(fleet, beat(kind, instance), NOON)
    told = [(process.kind, process.instance) for process in processes(fleet, NOON)]
    assert told == [("jobs", "jobs-1"), ("worker", "worker-1"), ("worker", "worker-2")]


def test_where_there_is_no_room_for_all_those_that_are_well_are_left_out() -> None:
    fleet = heard({}, beat("worker", "worker-9"), NOON)
    for number in range(5):
        fleet = heard(fleet, beat("worker", f"worker-{number}", stopping=number == 0), after(60))
    told = most_worrying(processes(fleet, after(61)), 3)
    assert [process.instance for process in told] == ["worker-1", "worker-2", "worker-9"]


def test_of_several_replicas_the_furthest_checkpoint_counts() -> None:
    fleet = heard({}, beat("audit", "audit-1", detail={"checkpoints": {"EVT_JOBS": 40, "EVT_ADMIN": 0}}), NOON)
    fleet = heard(fleet, beat("audit", "audit-2", detail={"checkpoints": {"EVT_JOBS": 0, "EVT_ADMIN": 7}}), after(1))
    assert checkpoints(alive(fleet, after(2), "audit")) == {"EVT_JOBS": (40, NOON), "EVT_ADMIN": (7, after(1))}


@pytest.mark.parametrize("told", [{}, {"checkpoints": None}, {"checkpoints": "x"}, {"checkpoints": {"EVT_JOBS": "x"}}])
def test_a_beat_without_readable_checkpoints_tells_none(told: dict[str, object]) -> None:
    assert checkpoints(alive(heard({}, beat("audit", "a", detail=told), NOON), NOON, "audit")) == {}


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=20))
def test_whatever_order_beats_arrive_in_the_latest_sent_counts(sent: list[tuple[int, bool]]) -> None:
    fleet: Fleet = {}
    for number, (second, stopping) in enumerate(sent):
        fleet = heard(fleet, beat(at=after(second), stopping=stopping), after(100 + number))
    latest = max(second for second, _ in sent)
    (process,) = processes(fleet, after(100 + len(sent)))
    assert process.beat.sent_at == after(latest)


def test_a_queue_is_served_by_each_worker_that_looks_for_its_jobs() -> None:
    told = [["mail"], ["mail", "default", "mail"], "mail", [7], None]
    fleet: Fleet = {}
    for number, queues in enumerate(told):
        fleet = heard(fleet, beat("worker", f"worker-{number}", detail={"queues": queues}), NOON)
    assert serving(alive(fleet, NOON, "worker")) == {"mail": 2, "default": 1}
    assert serving(alive(fleet, after(60), "worker")) == {}
