"""How a run of a job starts and ends: lease, release, success, failure, time limit, lost lease."""

from datetime import timedelta

import pytest

from jobplane.contracts import instants
from jobplane.contracts.job_events import ErrorFact, JobCompleted, JobFailed, JobOrphaned, JobReleased, JobStarted
from jobplane.contracts.jobs import JobStatus
from tests.unit.jobs.story import (
    BROKEN,
    ERROR,
    RESULT,
    T0,
    Story,
    complete,
    create,
    expire,
    fail,
    force_run,
    given,
    lease,
    release,
    retry,
    stopped,
    time_out,
)


def test_a_due_job_can_be_started() -> None:
    given(create()).after(seconds=3).when(lease("a")).then(JobStarted, run=1, attempt=1, worker="worker-1").then_job(
        status=JobStatus.RUNNING,
        run=1,
        attempt=1,
        worker="worker-1",
        token="a",
        lease_ms=30_000,
        started_at=T0 + timedelta(seconds=3),
        finished_at=None,
    )


def test_a_job_cannot_be_started_before_its_time() -> None:
    run_at = T0 + timedelta(hours=1)
    story = (
        given(create(run_at=run_at))
        .when(lease())
        .then_refused("job_not_due", status="PENDING", run_at=instants.written(run_at))
    )
    story.after(hours=1).when(lease()).then(JobStarted)


def test_a_forced_job_starts_before_its_time_and_is_forced_only_once() -> None:
    story = given(create(run_at=T0 + timedelta(days=1)), force_run()).then_job(forced=True, run_at=T0)
    story.when(lease()).then(JobStarted).then_job(forced=False)
    story.when(release()).then_job(forced=False)


def test_a_running_job_cannot_be_started_again() -> None:
    given(create(), lease("a")).when(lease("b")).then_refused("job_not_pending", status="RUNNING").then_job(token="a")


def test_a_released_run_does_not_count_and_is_due_at_once() -> None:
    story = given(create(), lease()).after(seconds=9).when(release())
    story.then(JobReleased, run=1, attempt=1, cause="drained", after=JobStatus.PENDING)
    story.then_job(run=1, attempt=0, run_at=story.now, token=None)
    story.when(lease("b")).then(JobStarted, run=2, attempt=1)


def test_a_report_of_a_released_run_is_fenced() -> None:
    given(create(), lease(), release()).when(complete()).then_lease_lost()


def test_a_run_that_stopped_though_nobody_cancelled_it_is_released() -> None:
    given(create(), lease()).when(stopped()).then(JobReleased, cause="stopped").then_job(status=JobStatus.PENDING)


def test_success_finishes_the_job_and_keeps_its_result() -> None:
    story = given(create(), lease()).after(seconds=2).when(complete(result=RESULT))
    story.then(JobCompleted, run=1, attempt=1, worker="worker-1", result=RESULT)
    story.then_job(status=JobStatus.COMPLETED, result_ref=RESULT.ref, finished_at=story.now)


def test_success_after_a_failure_clears_the_error() -> None:
    story = given(create(), lease(), fail()).then_job(error_type="OSError", error_ref=ERROR.ref)
    story.after(hours=1).given(lease("b")).when(complete("b"))
    story.then_job(error_type=None, error_ref=None, error_fingerprint=None)


def test_a_failure_with_attempts_left_waits_for_the_next_one() -> None:
    story = given(create(max_attempts=2), lease()).when(fail(), jitter=1.0)
    story.then(JobFailed, retry_at=T0 + timedelta(seconds=2.5), error=BROKEN)
    story.then_job(
        status=JobStatus.PENDING,
        run_at=T0 + timedelta(seconds=2.5),
        attempt=1,
        error_type="OSError",
        error_fingerprint="f" * 16,
        finished_at=None,
    )
    story.when(lease("b")).then_refused("job_not_due", status="PENDING", run_at=instants.written(story.job.run_at))


def test_the_last_failure_finishes_the_job() -> None:
    story = given(create(max_attempts=2), lease(), fail()).after(hours=1).given(lease("b")).when(fail("b"))
    story.then(JobFailed, attempt=2, retry_at=None).then_job(status=JobStatus.FAILED, finished_at=story.now, attempt=2)


def test_a_failure_that_another_attempt_cannot_help_finishes_the_job() -> None:
    given(create(max_attempts=5), lease()).when(fail(retryable=False)).then(JobFailed, retry_at=None).then_job(
        status=JobStatus.FAILED
    )


@pytest.mark.parametrize("end", [complete(), fail(), fail(retryable=False)])
@pytest.mark.parametrize("again", [complete(), fail(), release(), stopped()])
def test_a_repeated_report_changes_nothing(end: object, again: object) -> None:
    given(create(), lease(), end).when(again).then_nothing()  # type: ignore[arg-type]


def test_a_repeated_report_is_known_until_the_next_start() -> None:
    story = given(create(), lease(), fail(retryable=False), retry()).when(fail()).then_nothing()
    story.given(lease("b")).when(fail()).then_lease_lost()


def test_a_report_with_a_foreign_token_is_fenced() -> None:
    given(create(), lease("a")).when(complete("b")).then_lease_lost().then_job(status=JobStatus.RUNNING)


def test_a_report_of_a_job_that_never_ran_is_fenced() -> None:
    given(create()).when(complete()).then_lease_lost()


def test_a_run_over_its_time_limit_fails_with_timeout() -> None:
    story = given(create(timeout_ms=5000), lease()).after(seconds=5).when(time_out(), jitter=0.0)
    story.then(JobFailed, attempt=1, retry_at=story.now + timedelta(seconds=1.5))
    story.then_job(status=JobStatus.PENDING, error_type="timeout", token=None)


def test_the_error_of_a_timeout_may_bring_a_body() -> None:
    error = ErrorFact(type="timeout", fingerprint="a" * 16, body=ERROR)
    given(create(timeout_ms=5000), lease()).after(seconds=5).when(time_out(), error=error).then_job(error_ref=ERROR.ref)


def test_the_last_timeout_finishes_the_job() -> None:
    story = given(create(timeout_ms=5000, max_attempts=1), lease()).after(seconds=5).when(time_out())
    story.then_job(status=JobStatus.FAILED, finished_at=story.now)


def test_a_report_after_the_timeout_is_fenced() -> None:
    given(create(timeout_ms=5000), lease()).after(seconds=5).given(time_out()).when(complete()).then_lease_lost()


@pytest.mark.parametrize("story", [given(create(timeout_ms=5000), lease()), given(create(), lease())])
def test_a_run_within_its_time_limit_or_without_one_does_not_time_out(story: Story) -> None:
    story.after(seconds=4.999).when(time_out()).then_nothing()


def test_a_job_that_does_not_run_does_not_time_out() -> None:
    given(create(timeout_ms=100)).after(seconds=1).when(time_out()).then_nothing()


def test_a_lease_that_ran_out_orphans_the_run_without_counting_it() -> None:
    story = given(create(), lease()).after(seconds=30).when(expire(T0 + timedelta(seconds=30)))
    story.then(JobOrphaned, attempt=1, orphanings=1, error=None, retry_at=story.now + timedelta(seconds=2))
    story.then_job(status=JobStatus.PENDING, attempt=0, orphanings=1, token=None, error_type=None)


def test_a_report_of_an_orphaned_run_is_fenced() -> None:
    given(create(), lease(), expire()).when(complete()).then_lease_lost()


def test_a_lease_renewed_meanwhile_does_not_orphan() -> None:
    given(create(), lease()).when(expire(T0 + timedelta(milliseconds=1))).then_nothing()


def test_a_job_that_does_not_run_is_not_orphaned() -> None:
    given(create(), lease(), complete()).when(expire()).then_nothing()


def orphaned_twice() -> Story:
    story = given(create())
    for token in ("a", "b"):
        story.after(hours=1).given(lease(token), expire())
    return story.after(hours=1)


def test_three_orphanings_in_a_row_fail_the_job() -> None:
    story = orphaned_twice().given(lease("c")).when(expire()).then(JobOrphaned, orphanings=3, retry_at=None)
    story.then_job(status=JobStatus.FAILED, error_type="orphaned", finished_at=story.now, attempt=0, run=3)
    story.when(retry()).then_job(status=JobStatus.PENDING, orphanings=0)


def test_a_failure_in_between_forgives_orphanings() -> None:
    story = orphaned_twice().given(lease("c"), fail("c")).then_job(orphanings=0, attempt=1)
    story.after(hours=1).given(lease("d")).when(expire()).then(JobOrphaned, orphanings=1).then_job(attempt=1)


def test_a_release_in_between_forgives_no_orphanings() -> None:
    orphaned_twice().given(lease("c"), release("c"), lease("d")).when(expire()).then_job(status=JobStatus.FAILED)


def test_a_forced_job_starts_even_where_the_clock_is_a_little_behind() -> None:
    given(create(), force_run()).after(milliseconds=-5).when(lease()).then(JobStarted)


def test_the_wait_after_an_orphaning_goes_by_orphanings_not_by_attempts() -> None:
    story = given(create(), lease("a"), fail("a")).after(hours=1).given(lease("b"), fail("b")).after(hours=1)
    story.given(lease("c")).when(expire()).then(JobOrphaned, attempt=3, retry_at=story.now + timedelta(seconds=2))
