"""What an event changed, and the runs of a job, read from its events."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import JsonValue

from jobplane.chassis.ids import new_id
from jobplane.contracts import instants
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import StopState
from jobplane.contracts.queries import OneJob
from jobplane.jobs.attempts import attempts_of, error_references, stopping_of
from jobplane.jobs.decider import AnyCommand
from jobplane.jobs.differences import changes
from jobplane.jobs.histories import refuse_to_foresee
from tests.unit.jobs.story import (
    BROKEN,
    ERROR,
    PAYLOAD,
    RESULT,
    T0,
    Story,
    cancel,
    complete,
    create,
    edit,
    expire,
    fail,
    given,
    lease,
    release,
    restore,
    retry,
    settle_stop,
    stopped,
)

TEXTS: dict[str, JsonValue] = {
    PAYLOAD.ref: {"side": 1},
    RESULT.ref: [1, 2],
    ERROR.ref: {"message": "no", "stack": "line"},
}


def changed(story: Story, *commands: AnyCommand, texts: Any = TEXTS, **context: Any) -> dict[str, tuple[Any, Any]]:
    before = story.state
    for command in commands:
        story.when(command, **context)
    return {change.field: (change.before, change.after) for change in changes(before, story.job, texts)}


def test_a_new_job_begins_with_what_it_was_given() -> None:
    assert changed(Story(), create(priority=3, tags=["a"]), payload=PAYLOAD) == {
        "status": (None, "PENDING"),
        "kind": (None, "image.thumbnail"),
        "queue": (None, "images"),
        "priority": (None, 3),
        "run_at": (None, instants.written(T0)),
        "max_attempts": (None, 5),
        "tags": (None, ["a"]),
        "payload": (None, {"side": 1}),
    }


def test_an_event_tells_only_what_is_otherwise() -> None:
    story = given(create())
    assert changed(story, lease()) == {
        "status": ("PENDING", "RUNNING"),
        "run": (0, 1),
        "attempt": (0, 1),
        "worker": (None, "worker-1"),
    }
    ended = changed(story, complete(result=RESULT))
    assert ended == {
        "status": ("RUNNING", "COMPLETED"),
        "finished_at": (None, instants.written(T0)),
        "result": (None, [1, 2]),
    }


def test_a_failure_and_its_retry_tell_the_error() -> None:
    error = {"type": "OSError", "fingerprint": "f" * 16, "message": "no"}
    story = given(create(max_attempts=1), lease())
    assert changed(story, fail())["error"] == (None, error)
    assert changed(story, retry())["error"] == (error, None)


def test_an_erased_body_says_so() -> None:
    story = Story().when(create(), payload=PAYLOAD)
    assert changed(story, edit(payload={}), texts={})["payload"] == ({"erased": True}, {})
    failing = given(create(max_attempts=1), lease())
    assert changed(failing, fail(), texts={})["error"] == (
        None,
        {"type": "OSError", "fingerprint": "f" * 16, "erased": True},
    )


def test_two_erased_payloads_are_still_two() -> None:
    story = Story().when(create(), payload=PAYLOAD)
    assert changed(story, edit(payload={"n": 1}), texts={}, payload=RESULT)["payload"] == (
        {"erased": True},
        {"erased": True},
    )


def test_every_run_stays_whatever_follows_it() -> None:
    story = given(create(max_attempts=1), lease("a", "w-1")).after(seconds=2).given(fail("a"))
    story.after(seconds=1).given(retry(), lease("b", "w-2"), release("b"), lease("c", "w-1"), complete("c"))
    first, second, third = attempts_of(story.history, TEXTS)
    assert (first.run, first.attempt, first.worker, first.outcome) == (1, 1, "w-1", "failed")
    assert first.ended_at is not None
    assert (first.ended_at - first.started_at).total_seconds() == 2
    assert first.error is not None
    assert (first.error.type, first.error.message, first.error.stack) == ("OSError", "no", None)
    assert (second.run, second.attempt, second.worker, second.outcome) == (2, 1, "w-2", "released")
    assert (third.run, third.attempt, third.outcome, third.error) == (3, 1, "completed", None)
    assert error_references(event for event, _ in story.history) == [ERROR.ref]


def test_a_run_that_goes_on_has_no_end() -> None:
    [attempt] = attempts_of(given(create(), lease()).history, {})
    assert (attempt.outcome, attempt.ended_at) == ("running", None)


def test_a_run_that_lost_its_worker_is_orphaned() -> None:
    [attempt] = attempts_of(given(create(), lease(), expire()).history, {})
    assert attempt.outcome == "orphaned"


@pytest.mark.parametrize(
    ("ends", "stop"),
    [
        ([], StopState.PENDING),
        ([stopped()], StopState.CONFIRMED),
        ([complete()], StopState.FINISHED_ANYWAY),
        ([settle_stop()], StopState.UNCONFIRMED),
        ([settle_stop(), stopped()], StopState.CONFIRMED),
    ],
)
def test_a_cancelled_run_tells_how_its_stop_went(ends: list[AnyCommand], stop: StopState) -> None:
    story = given(create(), lease(), cancel()).after(seconds=5).given(*ends)
    [attempt] = attempts_of(story.history, {})
    settled = None if stop is StopState.PENDING else story.now
    assert (attempt.outcome, attempt.stop, attempt.stop_settled_at) == ("cancelled", stop, settled)
    stopping = stopping_of(story.history)
    assert stopping is not None
    assert (stopping.requested_at, stopping.outcome, stopping.settled_at) == (T0, stop, settled)


@pytest.mark.parametrize(
    "report", [stopped(heard_at=T0 + timedelta(seconds=1)), replace(complete(), heard_at=T0 + timedelta(seconds=1))]
)
def test_a_stop_tells_when_its_worker_heard_of_it(report: AnyCommand) -> None:
    story = given(create(), lease(), cancel()).after(seconds=5).given(report)
    stopping = stopping_of(story.history)
    [attempt] = attempts_of(story.history, {})
    assert stopping is not None
    assert stopping.signalled_at == attempt.stop_signalled_at == T0 + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("clock", "told"), [(timedelta(hours=-1), timedelta(0)), (timedelta(hours=1), timedelta(seconds=5))]
)
def test_the_wrong_clock_of_a_worker_moves_no_signal_out_of_its_stop(clock: timedelta, told: timedelta) -> None:
    story = given(create(), lease(), cancel()).after(seconds=5).given(stopped(heard_at=T0 + clock))
    stopping = stopping_of(story.history)
    [attempt] = attempts_of(story.history, {})
    assert stopping is not None
    assert stopping.signalled_at == attempt.stop_signalled_at == T0 + told


def test_a_cancel_that_cut_off_nothing_or_was_taken_back_has_no_stop() -> None:
    assert stopping_of(given(create(), cancel()).history) is None
    assert stopping_of(given(create(), lease(), cancel(), stopped(), restore()).history) is None
    assert BROKEN.body == ERROR


def test_how_a_job_will_be_is_not_told() -> None:
    job_id = JobId(new_id())
    with pytest.raises(Refused) as ahead:
        refuse_to_foresee(OneJob(job_id=job_id, position=8), 7, T0)
    assert (ahead.value.code, ahead.value.facts) == ("position_not_reached", {"position": 7})
    with pytest.raises(Refused) as tomorrow:
        refuse_to_foresee(OneJob(job_id=job_id, at=T0 + timedelta(days=1)), 7, T0)
    assert tomorrow.value.code == "as_of_in_the_future"


def test_the_last_position_and_a_clock_a_little_ahead_are_no_future() -> None:
    job_id = JobId(new_id())
    refuse_to_foresee(OneJob(job_id=job_id, position=7), 7, T0)
    refuse_to_foresee(OneJob(job_id=job_id, at=T0 + timedelta(seconds=2)), 7, T0)
