from datetime import UTC, datetime

from jobplane.chassis.recent_events import MOST, RecentEvents
from jobplane.contracts.actors import system
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.ids import EventId


def event(position: int) -> EventRecord:
    return EventRecord(
        position=position,
        stream_id="s",
        version=1,
        type="test.happened.v1",
        id=EventId(f"e{position}"),
        command_id=None,
        actor=system("test"),
        reason=None,
        correlation_id="c",
        causation_id=None,
        traceparent="",
        at=datetime.now(UTC),
        data=b"{}",
    )


def positions(events: list[EventRecord]) -> list[int]:
    return [event.position for event in events]


def test_what_follows_without_a_gap_is_taken_once_in_order() -> None:
    recent = RecentEvents()
    recent.add([event(3), event(4)])
    recent.add([event(2)])
    assert positions(recent.take(1, 2)) == [2, 3]
    assert positions(recent.take(3, 2)) == [4]
    assert recent.take(1, 2) == []


def test_behind_a_gap_nothing_is_kept() -> None:
    recent = RecentEvents()
    recent.add([event(3)])
    assert recent.take(1, 10) == []
    assert recent.take(2, 10) == []


def test_too_many_are_forgotten() -> None:
    recent = RecentEvents()
    recent.add([event(n) for n in range(1, MOST + 1)])
    recent.add([event(MOST + 1)])
    assert recent.take(0, 10) == []


def test_another_journal_begins_with_none() -> None:
    recent = RecentEvents()
    recent.add([event(1)])
    recent.clear()
    assert recent.take(0, 10) == []
