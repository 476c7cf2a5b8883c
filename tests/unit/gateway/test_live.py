"""The ring of recent events and the ids that readers resume from."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import system
from jobplane.contracts.envelope import EventRecord, event_headers
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import EventId
from jobplane.gateway.live_cursor import STREAMS, Cursor, render
from jobplane.gateway.live_ring import Entry, Ring

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
positions = st.integers(min_value=0, max_value=10**17)


@given(st.integers(min_value=0, max_value=10**8), st.tuples(positions, positions, positions))
def test_an_id_comes_back_as_it_was(epoch: int, seen: tuple[int, int, int]) -> None:
    assert Cursor.parse(render(epoch, seen)) == Cursor(epoch, seen)


def test_streams_may_be_left_out() -> None:
    assert Cursor.parse("1.j5") == Cursor(1, (5, None, None))
    assert Cursor.parse("2.h1.a3") == Cursor(2, (None, 3, 1))


@pytest.mark.parametrize("text", ["", "1", "1.", "1.x5", "1.j", "j5", "1.j5 ", "1.j-5", "1.j5..a1", "\u0661.j\u0661"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="invalid_cursor"):
        Cursor.parse(text)


@given(st.integers(min_value=1, max_value=20), st.lists(st.sampled_from(range(len(STREAMS))), max_size=60))
def test_the_ring_has_everything_after_its_floors(size: int, arrivals: list[int]) -> None:
    ring = Ring(size)
    last = [0] * len(STREAMS)
    for stream in arrivals:
        last[stream] += 1
        ring.append(Entry(stream, last[stream], None, b""))
    kept = ring.between(ring.first, ring.end)
    assert ring.positions == last
    assert len(kept) == min(size, len(arrivals))
    for stream in range(len(STREAMS)):
        expected = range(ring.floors[stream] + 1, last[stream] + 1)
        assert [entry.position for entry in kept if entry.stream == stream] == list(expected)
    if kept:
        assert kept[-1].after == tuple(last)


def test_an_event_is_one_line_of_json_whatever_its_body_looks_like() -> None:
    event = EventRecord(
        position=3,
        stream_id=new_id(),
        version=1,
        type="job.created.v1",
        id=EventId(new_id()),
        command_id=None,
        actor=system("scheduler"),
        reason="two\nlines \u2028 and more",
        correlation_id=new_id(),
        causation_id=None,
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        at=NOW,
        data=b'{\n  "queue": "q"\r\n}',
    )
    entry = Entry(0, 3, event_headers(event, "jobplane/jobs"), event.data, (3, 0, 0))
    lines = entry.wire(1).decode().split("\n")
    assert lines[0] == "id: 1.j3.a0.h0"
    assert lines[1] == "event: job.created.v1"
    told = json.loads(lines[2].removeprefix("data: "))
    assert lines[3:] == ["", ""]
    assert told["reason"] == event.reason
    assert told["data"] == {"queue": "q"}
    assert told["actor"] == {"id": "scheduler", "kind": "system"}


def test_a_message_that_is_no_event_is_left_out() -> None:
    assert Entry(0, 1, {"ce-type": "x"}, b"{}", (1, 0, 0)).wire(1) == b""
