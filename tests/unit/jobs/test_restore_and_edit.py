"""What admins may take back, and what they may change of a job that does not run."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from jobplane.contracts.ids import BodyRef
from jobplane.contracts.job_events import Body, Editable, JobEdited, JobRestored, JobRetried, JobStarted
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.decider import AnyCommand
from tests.unit.jobs.story import (
    OTHER,
    PAYLOAD,
    T0,
    Story,
    cancel,
    complete,
    create,
    edit,
    fail,
    force_run,
    given,
    lease,
    restore,
    retry,
    settle_stop,
    stopped,
)

LATER = T0 + timedelta(days=1)
NEW = Body(ref=BodyRef("019aa000-0000-7000-8000-0000000000ed"), digest="e" * 64)


def cancelled_run() -> Story:
    return given(create(), lease("a"), fail("a")).after(hours=1).given(lease("b"), cancel())


def test_a_cancelled_job_is_restored_with_its_time_and_its_attempts() -> None:
    story = given(create(run_at=LATER), cancel()).after(hours=1).when(restore())
    story.then(JobRestored, before=JobStatus.CANCELLED, after=JobStatus.PENDING, attempt=0)
    story.then_job(status=JobStatus.PENDING, run_at=LATER, finished_at=None)


@pytest.mark.parametrize("end", [stopped("b"), complete("b"), settle_stop()])
def test_the_run_that_a_cancel_cut_off_does_not_count_once_restored(end: AnyCommand) -> None:
    story = cancelled_run().given(end).when(restore()).then(JobRestored, attempt=1)
    story.then_job(status=JobStatus.PENDING, attempt=1, run=2, stop=None, stop_token=None, error_type="OSError")
    story.when(lease("c")).then(JobStarted, run=3, attempt=2)


def test_a_restored_job_has_an_attempt_left() -> None:
    given(create(max_attempts=1), lease(), cancel(), stopped(), restore()).then_job(attempt=0).given(lease("b"))


def test_a_restore_waits_until_it_is_known_what_became_of_the_run() -> None:
    cancelled_run().when(restore()).then_refused("stop_pending", status="CANCELLED")


def test_the_cancelled_run_stays_fenced_after_the_restore() -> None:
    cancelled_run().given(settle_stop(), restore()).when(complete("b")).then_lease_lost()


def test_a_restore_is_refused_while_another_job_holds_the_unique_key() -> None:
    story = given(create(unique_key="k"), cancel()).when(restore(), holder=OTHER)
    story.then_refused("unique_key_taken", status="CANCELLED", holder=OTHER)


@pytest.mark.parametrize(
    "story",
    [
        given(create()),
        given(create(), lease()),
        given(create(), lease(), complete()),
        given(create(), lease(), fail(retryable=False)),
    ],
)
def test_only_a_cancelled_job_can_be_restored(story: Story) -> None:
    story.when(restore()).then_refused("job_not_cancelled", status=story.job.status)


def test_an_edit_tells_each_changed_field_before_and_after() -> None:
    story = Story().when(create(), payload=PAYLOAD).after(hours=1)
    story.when(edit(payload={"n": 2}, queue="others", priority=0, max_attempts=9, run_at=LATER), payload=NEW)
    story.then(
        JobEdited,
        queue="others",
        before=JobStatus.PENDING,
        after=JobStatus.PENDING,
        changed=("payload", "queue", "max_attempts", "run_at"),
        was=Editable(payload=PAYLOAD.ref, queue="images", max_attempts=5, run_at=T0),
        now=Editable(payload=NEW.ref, queue="others", max_attempts=9, run_at=LATER),
        payload=NEW,
    )
    story.then_job(payload_ref=NEW.ref, queue="others", max_attempts=9, run_at=LATER, priority=0, version=2)


def test_a_payload_may_be_emptied() -> None:
    story = Story().when(create(), payload=PAYLOAD).when(edit(payload={}))
    story.then(JobEdited, changed=("payload",), payload=None).then_job(payload_ref=None)
    story.when(edit(payload={})).then_refused("nothing_to_change", status="PENDING")


def test_an_edit_to_a_time_that_has_passed_means_at_once() -> None:
    story = given(create(run_at=LATER)).after(hours=1).when(edit(run_at=T0 - timedelta(days=1)))
    story.then_job(run_at=story.now)


def test_a_time_given_to_a_forced_job_takes_it_back_into_the_line() -> None:
    story = given(create(), force_run()).when(edit(priority=3)).then_job(forced=True)
    story.when(edit(run_at=LATER)).then_job(forced=False, run_at=LATER)


def test_a_failed_job_can_be_edited_and_retried_at_the_new_time() -> None:
    story = given(create(max_attempts=1), lease(), fail()).when(edit(run_at=LATER, priority=9))
    story.then(JobEdited, before=JobStatus.FAILED, after=JobStatus.FAILED).then_job(status=JobStatus.FAILED)
    story.when(retry()).then(JobRetried, run_at=LATER)


@pytest.mark.parametrize(
    "change",
    [{}, {"priority": 0}, {"queue": "images"}, {"max_attempts": 5}, {"run_at": T0}, {"payload": {}}],
)
def test_an_edit_that_changes_nothing_is_refused(change: dict[str, Any]) -> None:
    given(create()).when(edit(**change)).then_refused("nothing_to_change", status="PENDING")


@pytest.mark.parametrize("end", [[lease("b")], [lease("b"), complete("b")], [cancel()]])
def test_only_a_pending_or_failed_job_can_be_edited(end: list[AnyCommand]) -> None:
    story = given(create(), *end)
    story.when(edit(priority=1)).then_refused("job_not_editable", status=story.job.status)


def test_attempts_that_were_used_cannot_be_taken_away() -> None:
    waiting = given(create(), lease("a"), fail("a"))
    waiting.when(edit(max_attempts=1)).then_refused("max_attempts_too_low", status="PENDING", attempt=1, at_least=2)
    waiting.when(edit(max_attempts=2)).then_job(max_attempts=2)
    ended = given(create(), lease("a"), fail("a", retryable=False))
    ended.when(edit(max_attempts=1)).then_job(max_attempts=1)


@pytest.mark.parametrize("run_at", [T0 + timedelta(days=3654)])
def test_an_edit_to_a_time_that_no_database_could_hold_is_refused(run_at: datetime) -> None:
    given(create()).when(edit(run_at=run_at)).then_refused("run_at_too_far", status="PENDING")
