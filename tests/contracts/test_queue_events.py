"""Every event of a queue that was ever written can still be read and folded: one golden file per type, never edited."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobplane.contracts.actors import Actor, ActorKind
from jobplane.contracts.queues import QUEUE_EVENTS, LimitsSet, Pause
from jobplane.jobs.queue import Control, Meta, Target, evolve

GOLDEN = Path(__file__).parent / "golden"
AT = [datetime(2026, 11, 1, 12, 0, second, tzinfo=UTC) for second in range(60)]
WHO = Actor(id="account-1", kind=ActorKind.USER)


def golden(event_type: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((GOLDEN / f"{event_type}.json").read_text(encoding="utf-8"))
    return read


def fold(*event_types: str) -> dict[str, Any]:
    """How the queue is controlled after these golden events, one a second."""
    state = Control(Target("queue", "images"))
    for version, event_type in enumerate(event_types, start=1):
        event = QUEUE_EVENTS[event_type].model_validate(golden(event_type)["data"])
        state = evolve(state, event, Meta(version, AT[version], WHO, "the disk is full"))
    return {
        "version": state.version,
        "paused": _shown(state.paused),
        "limits": _shown(state.limits),
    }


def _shown(deed: Pause | LimitsSet | None) -> dict[str, Any] | None:
    return None if deed is None else {**deed.model_dump(mode="json", exclude_none=True), "by": deed.by.id}


def test_every_event_type_has_a_golden_file_and_every_golden_file_a_type() -> None:
    assert {path.stem for path in GOLDEN.glob("queue.*.json")} == set(QUEUE_EVENTS)


@pytest.mark.parametrize("event_type", QUEUE_EVENTS)
def test_a_golden_event_reads_and_writes_as_it_was_written(event_type: str) -> None:
    data = golden(event_type)["data"]
    event = QUEUE_EVENTS[event_type].model_validate(data)
    assert json.loads(event.model_dump_json(exclude_none=True)) == data
    assert QUEUE_EVENTS[event_type].model_validate({**data, "added_later": 1}) == event


@pytest.mark.parametrize("event_type", QUEUE_EVENTS)
def test_a_golden_event_folds_to_what_it_always_did(event_type: str) -> None:
    file = golden(event_type)
    before, after = fold(*file["after"]), fold(*file["after"], event_type)
    assert {name: value for name, value in after.items() if before[name] != value} == file["changes"]


def test_a_queue_and_a_kind_of_the_same_name_have_streams_of_their_own() -> None:
    streams = {Target(sort, "mail").stream_id for sort in ("queue", "kind")}
    assert len(streams) == 2
