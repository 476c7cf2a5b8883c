"""What admins may do with a job: create, retry, cancel, force."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobplane.contracts.job_events import (
    JobCancelled,
    JobCreated,
    JobFinishedAnyway,
    JobForceRun,
    JobRetried,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import JobStatus, StopState
from jobplane.jobs.decider import REFUSALS, AnyCommand
from jobplane.jobs.job import Meta, evolve, fold
from tests.unit.jobs.story import (
    JOB,
    OTHER,
    PAYLOAD,
    T0,
    TRACE,
    Story,
    cancel,
    complete,
    create,
    edit,
    expire,
    fail,
    force_run,
    given,
    lease,
    release,
    restore,
    retry,
    settle_stop,
    stopped,
    time_out,
)


def test_a_created_job_is_pending_and_due_at_once() -> None:
    story = Story().when(create(tags=["a", "b"], priority=7, timeout_ms=500, asset="x/1"), payload=PAYLOAD)
    story.then(JobCreated, before=None, after=JobStatus.PENDING, payload=PAYLOAD)
    story.then_job(
        id=JOB,
        kind="image.thumbnail",
        queue="images",
        status=JobStatus.PENDING,
        priority=7,
        run_at=T0,
        created_at=T0,
        max_attempts=5,
        timeout_ms=500,
        tags=("a", "b"),
        asset="x/1",
        payload_ref=PAYLOAD.ref,
        trace_id=TRACE,
        version=1,
        run=0,
        attempt=0,
    )


def test_a_job_may_wait_for_its_time_told_in_any_zone() -> None:
    run_at = datetime(2026, 11, 1, 15, 0, tzinfo=timezone(timedelta(hours=2)))
    job = Story().when(create(run_at=run_at)).job
    assert job.run_at == datetime(2026, 11, 1, 13, 0, tzinfo=UTC)
    assert job.run_at.tzinfo is UTC


def test_a_time_in_the_past_means_at_once() -> None:
    Story().when(create(run_at=T0 - timedelta(days=400))).then_job(run_at=T0)


@pytest.mark.parametrize(
    "run_at", [T0 + timedelta(days=3654), datetime.max.replace(tzinfo=timezone(timedelta(hours=-10)))]
)
def test_a_time_that_no_database_could_hold_is_refused(run_at: datetime) -> None:
    Story().when(create(run_at=run_at)).then_refused("run_at_too_far")


def test_a_taken_unique_key_answers_the_job_that_holds_it() -> None:
    Story().when(create(unique_key="k"), holder=OTHER).then_existing(OTHER)


def test_a_free_unique_key_is_taken() -> None:
    Story().when(create(unique_key="k")).then_job(unique_key="k")


def test_an_id_is_used_once() -> None:
    given(create()).when(create()).then_refused("job_exists", status="PENDING")


def failed(**fields: object) -> Story:
    return given(create(max_attempts=1, **fields), lease(), fail())


def test_a_failed_job_can_be_retried() -> None:
    story = failed().after(hours=2).when(retry())
    story.then(JobRetried, before=JobStatus.FAILED, after=JobStatus.PENDING, run_at=story.now)
    story.then_job(
        status=JobStatus.PENDING,
        run_at=story.now,
        run=1,
        attempt=0,
        error_type=None,
        error_ref=None,
        error_fingerprint=None,
        finished_at=None,
    )
    story.when(lease("b")).then(JobStarted, run=2, attempt=1)


@pytest.mark.parametrize(
    ("story", "status"),
    [
        (given(create()), "PENDING"),
        (given(create(), lease()), "RUNNING"),
        (given(create(), lease(), complete()), "COMPLETED"),
        (given(create(), cancel()), "CANCELLED"),
    ],
)
def test_only_a_failed_job_can_be_retried(story: Story, status: str) -> None:
    story.when(retry()).then_refused("job_not_failed", status=status)


def test_a_retry_is_refused_while_another_job_holds_the_unique_key() -> None:
    story = failed(unique_key="k").when(retry(), holder=OTHER)
    story.then_refused("unique_key_taken", status="FAILED", holder=OTHER)
    story.when(retry(), holder=JOB).then(JobRetried)


def test_a_pending_job_can_be_cancelled_and_nothing_is_left_to_stop() -> None:
    story = given(create(), force_run()).after(seconds=1).when(cancel())
    story.then(JobCancelled, run=None, worker=None)
    story.then_job(status=JobStatus.CANCELLED, finished_at=story.now, stop=None, stop_token=None, forced=False)


def test_cancelling_between_two_attempts_still_knows_the_last_report() -> None:
    given(create(), lease(), fail(), cancel()).then_job(stop=None).when(fail()).then_nothing()


def cancelled_run() -> Story:
    return given(create(), lease("a")).after(seconds=1).when(cancel())


def test_cancelling_a_running_job_fences_its_run_at_once() -> None:
    story = cancelled_run().then(JobCancelled, run=1, worker="worker-1")
    story.then_job(
        status=JobStatus.CANCELLED, finished_at=story.now, token=None, stop=StopState.PENDING, stop_token="a"
    )
    story.when(complete("b")).then_lease_lost()


@pytest.mark.parametrize("report", [stopped("a"), release("a")])
def test_a_worker_confirms_the_stop(report: AnyCommand) -> None:
    story = cancelled_run().when(report).then(JobStopConfirmed, run=1, worker="worker-1")
    story.then_job(status=JobStatus.CANCELLED, stop=StopState.CONFIRMED)


@pytest.mark.parametrize(("report", "outcome"), [(complete("a"), "completed"), (fail("a"), "failed")])
def test_a_worker_that_was_faster_than_the_cancel_says_so(report: AnyCommand, outcome: str) -> None:
    story = cancelled_run().when(report).then(JobFinishedAnyway, run=1, outcome=outcome)
    story.then_job(status=JobStatus.CANCELLED, stop=StopState.FINISHED_ANYWAY, result_ref=None, error_type=None)


def test_a_stop_nobody_told_about_is_unconfirmed() -> None:
    cancelled_run().when(settle_stop()).then(JobStopUnconfirmed, run=1).then_job(stop=StopState.UNCONFIRMED)


@pytest.mark.parametrize("end", [stopped("a"), complete("a")])
@pytest.mark.parametrize("again", [stopped("a"), complete("a"), fail("a"), release("a"), settle_stop()])
def test_a_stop_is_settled_once(end: AnyCommand, again: AnyCommand) -> None:
    cancelled_run().given(end).when(again).then_nothing()


def test_a_late_truth_is_better_than_unconfirmed() -> None:
    cancelled_run().given(settle_stop()).when(settle_stop()).then_nothing()
    confirmed = cancelled_run().given(settle_stop()).when(stopped("a")).then(JobStopConfirmed, run=1)
    confirmed.then_job(stop=StopState.CONFIRMED)
    finished = cancelled_run().given(settle_stop()).when(complete("a")).then(JobFinishedAnyway, run=1)
    finished.then_job(stop=StopState.FINISHED_ANYWAY)


@pytest.mark.parametrize("story", [given(create()), given(create(), lease()), given(create(), cancel())])
def test_there_is_no_stop_to_settle_without_a_cancelled_run(story: Story) -> None:
    story.when(settle_stop()).then_nothing()


@pytest.mark.parametrize("command", [time_out(), expire()])
def test_a_cancelled_run_neither_times_out_nor_is_orphaned(command: AnyCommand) -> None:
    given(create(timeout_ms=100), lease(), cancel()).after(hours=1).when(command).then_nothing()


@pytest.mark.parametrize("end", [complete(), fail(retryable=False), cancel()])
def test_a_finished_job_cannot_be_cancelled(end: AnyCommand) -> None:
    story = given(create(), lease(), end)
    story.when(cancel()).then_refused("job_finished", status=story.job.status)


def test_a_pending_job_can_be_forced_to_run_now() -> None:
    story = given(create(run_at=T0 + timedelta(days=1))).after(hours=1).when(force_run())
    story.then(JobForceRun, run_at=story.now).then_job(status=JobStatus.PENDING, run_at=story.now, forced=True)


@pytest.mark.parametrize("end", [lease("b"), cancel()])
def test_only_a_pending_job_can_be_forced(end: AnyCommand) -> None:
    story = given(create(), end)
    story.when(force_run()).then_refused("job_not_pending", status=story.job.status)


@pytest.mark.parametrize(
    "command",
    [
        lease(),
        release(),
        complete(),
        fail(),
        stopped(),
        time_out(),
        expire(),
        settle_stop(),
        retry(),
        cancel(),
        force_run(),
        restore(),
        edit(priority=1),
    ],
)
def test_nothing_can_be_done_with_a_job_that_does_not_exist(command: AnyCommand) -> None:
    Story().when(command).then_refused("job_not_found")


def test_every_refusal_is_one_sentence_that_says_what_to_do() -> None:
    for code, detail in REFUSALS.items():
        assert code == code.lower()
        assert detail.endswith("."), detail
        assert detail.count(".") == 1, detail
        assert ":" in detail, detail


def test_an_empty_history_tells_of_no_job() -> None:
    assert fold([]) is None


def test_a_broken_history_is_an_error() -> None:
    story = given(create(), cancel())
    (created, meta), (cancelled, _) = story.history
    with pytest.raises(ValueError, match="does not begin with its creation"):
        evolve(None, cancelled, meta)
    with pytest.raises(ValueError, match="created twice"):
        evolve(story.state, created, Meta(JOB, 3, T0, TRACE))
