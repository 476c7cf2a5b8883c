"""What a producer makes of the jobs it is given, before anything is sent."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import ActorKind, system
from jobplane.contracts.envelope import CommandMessage
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.ids import CommandId
from jobplane.worker import producer
from jobplane.worker.command_bus import MAX_BATCH, MAX_BATCH_BYTES, groups
from jobplane.worker.producer import InvalidJob, NewJob, NotEnqueued

LATER = datetime(2100, 1, 1, tzinfo=UTC)


def message(name: str = "shop", **told: Any) -> CommandMessage:
    command_id, body = producer._command(NewJob(**({"kind": "k"} | told)), system(name), new_id(), LATER)
    read = CommandMessage.model_validate_json(body)
    assert read.command_id == command_id
    return read


def test_every_option_reaches_the_command() -> None:
    told = message(
        payload={"a": [1, None]},
        queue="slow",
        priority=3,
        run_at=LATER,
        max_attempts=2,
        timeout=timedelta(seconds=1.5),
        tags=["x"],
        unique_key="u",
        asset="a/b",
    )
    assert told.actor == system("shop")
    assert told.actor.kind is ActorKind.SYSTEM
    assert told.command.model_dump(exclude={"job_id"}) == {
        "type": "create",
        "kind": "k",
        "payload": {"a": [1, None]},
        "queue": "slow",
        "priority": 3,
        "run_at": LATER,
        "max_attempts": 2,
        "timeout_ms": 1500,
        "tags": ["x"],
        "unique_key": "u",
        "asset": "a/b",
        "cloned_from": None,
    }


def test_a_key_names_the_command_and_its_digest_the_wish() -> None:
    first, again, other = (message(key="4711", payload={"n": n}) for n in (1, 1, 2))
    assert first.command_id == again.command_id == other.command_id
    assert first.command.target != again.command.target
    assert first.body_digest == again.body_digest != other.body_digest
    assert message("another", key="4711").command_id != first.command_id
    assert message().command_id != message().command_id


def test_what_is_not_plain_json_yet_becomes_it() -> None:
    @dataclass
    class Parcel:
        id: UUID
        at: datetime

    parcel = Parcel(UUID(int=7), LATER)
    told = message(payload={"parcel": parcel}).command.model_dump()["payload"]
    assert told == {"parcel": {"id": str(UUID(int=7)), "at": "2100-01-01T00:00:00Z"}}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"kind": "no kind"}, "kind"),
        ({"queue": "Q"}, "queue"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"run_at": datetime(2100, 1, 1)}, "run_at"),  # noqa: DTZ001 - a naive instant is the subject
        ({"payload": {"a": object()}}, "payload"),
        ({"payload": {"a": "x" * 300_000}}, "256 KiB"),
        ({"timeout": timedelta(0)}, "timeout_ms"),
    ],
    ids=["kind", "queue", "attempts", "naive", "no json", "large", "timeout"],
)
def test_what_cannot_be_a_job_is_told_before_anything_is_sent(told: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidJob, match=why) as problem:
        message(**told)
    assert "no kind" not in str(problem.value)


def test_groups_fit_into_atomic_batches_and_keep_the_order() -> None:
    commands = [(CommandId(new_id()), b"x") for _ in range(2 * MAX_BATCH + 1)]
    made = list(groups(commands))
    assert [group.missing for group in made] == [MAX_BATCH, MAX_BATCH, 1]
    assert [(one.command_id, one.body) for group in made for one in group.flights] == commands
    large = [(CommandId(new_id()), b"x" * (MAX_BATCH_BYTES // 2)) for _ in range(3)]
    assert [group.missing for group in groups(large)] == [2, 1]
    assert list(groups([])) == []


def test_an_outcome_that_is_no_job_is_an_error_of_the_tree() -> None:
    refused = NotEnqueued(CommandId(new_id()), "journal_diverged", "No.", refused=True).error()
    assert isinstance(refused, Refused)
    unknown = NotEnqueued(CommandId(new_id()), "not_decided", "Nobody knows.").error()
    assert isinstance(unknown, Unavailable)
    assert unknown.code == "not_decided"
