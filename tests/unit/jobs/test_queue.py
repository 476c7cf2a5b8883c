"""What is decided about a queue, and what each event does to it."""

from datetime import UTC, datetime, timedelta

import pytest

from jobplane.contracts.actors import Actor, ActorKind
from jobplane.contracts.queues import (
    AnyQueueCommand,
    LimitQueue,
    Limits,
    PauseQueue,
    QueueState,
    Rate,
    ResumeQueue,
)
from jobplane.jobs.decider import Rejected
from jobplane.jobs.queue import REFUSALS, Control, Meta, Target, decide, evolve, told

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WHO = Actor(id="account-1", kind=ActorKind.USER)
SLOW = Limits(concurrency=2, rate=Rate(starts=10, every_s=60, burst=3))


def after(*commands: AnyQueueCommand) -> Control:
    """The queue after these commands, none of which is refused."""
    state = Control(Target.of(commands[0]))
    for version, command in enumerate(commands, start=1):
        event = decide(command, state)
        assert not isinstance(event, Rejected), event
        state = evolve(state, event, Meta(version, NOON, WHO, "because"))
    return state


PAUSE, DRAIN, RESUME = PauseQueue(queue="mail"), PauseQueue(queue="mail", drain=True), ResumeQueue(queue="mail")
LIMIT, LIFT = LimitQueue(queue="mail", limits=SLOW), LimitQueue(queue="mail", limits=Limits())


def test_a_pause_tells_who_paused_it_since_when_and_why() -> None:
    paused = after(PAUSE).paused
    assert paused is not None
    assert (paused.at, paused.by, paused.reason, paused.drain) == (NOON, WHO, "because", False)


def test_a_pause_that_becomes_a_drain_keeps_since_when_and_why() -> None:
    paused = after(PAUSE)
    event = decide(DRAIN, paused)
    assert not isinstance(event, Rejected)
    other = Actor(id="account-2", kind=ActorKind.USER)
    drained = evolve(paused, event, Meta(2, NOON + timedelta(hours=1), other, None)).paused
    assert drained is not None
    assert (drained.at, drained.by, drained.reason, drained.drain) == (NOON, WHO, "because", True)


def test_a_resumed_queue_keeps_its_limits() -> None:
    state = after(LIMIT, PAUSE, RESUME)
    assert state.paused is None
    assert state.limited == SLOW
    assert state.active


def test_lifted_limits_leave_nothing() -> None:
    state = after(LIMIT, LIFT)
    assert (state.limits, state.active, state.version) == (None, False, 2)


@pytest.mark.parametrize(
    ("commands", "running", "state"),
    [
        ([LIMIT], 3, QueueState.ACTIVE),
        ([PAUSE], 3, QueueState.PAUSED),
        ([PAUSE], 0, QueueState.PAUSED),
        ([DRAIN], 3, QueueState.DRAINING),
        ([DRAIN], 0, QueueState.DRAINED),
        ([PAUSE, DRAIN], 0, QueueState.DRAINED),
        ([DRAIN, RESUME], 0, QueueState.ACTIVE),
    ],
)
def test_its_state_follows_from_its_pause_and_what_runs(
    commands: list[AnyQueueCommand], running: int, state: QueueState
) -> None:
    assert told(after(*commands), running, known=True).state is state


@pytest.mark.parametrize(
    ("before", "command", "code"),
    [
        ([PAUSE], PAUSE, "already_paused"),
        ([DRAIN], PAUSE, "already_paused"),
        ([DRAIN], DRAIN, "already_paused"),
        ([PAUSE, RESUME], RESUME, "not_paused"),
        ([LIMIT], LIMIT, "nothing_to_change"),
        ([LIMIT, LIFT], LIFT, "nothing_to_change"),
    ],
)
def test_what_changes_nothing_is_refused(before: list[AnyQueueCommand], command: AnyQueueCommand, code: str) -> None:
    refused = decide(command, after(*before))
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.detail) == (code, REFUSALS[code])


def test_a_queue_that_nobody_has_heard_of_may_be_controlled_before_its_first_job() -> None:
    assert after(PauseQueue(kind="mail.send")).target == Target("kind", "mail.send")


@pytest.mark.parametrize("named", [{}, {"queue": "mail", "kind": "mail.send"}])
def test_a_command_names_a_queue_or_a_kind(named: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="name a queue or a kind"):
        PauseQueue.model_validate(named)
