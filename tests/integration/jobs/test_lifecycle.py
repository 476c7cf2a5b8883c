"""The life of a job through the real service."""

import pytest

from jobplane.contracts.commands import CancelJob, ForceRunJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from tests.integration.jobs.driving import Driver, done, failed, job_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_job_is_created_leased_and_completed(driver: Driver) -> None:
    created = await driver.create(payload={"n": 1})
    assert (created.status, created.payload, created.version) == (JobStatus.PENDING, {"n": 1}, 1)
    [leased] = await driver.lease()
    assert (leased.job, leased.payload, leased.attempt) == (created.id, {"n": 1}, 1)
    assert leased.traceparent.split("-")[1] == created.trace_id == "ab" * 16

    assert await driver.report(done(leased, result={"answer": 42})) == ["accepted"]
    job = await driver.job(created.id)
    assert (job.status, job.result, job.error) == (JobStatus.COMPLETED, {"answer": 42}, None)
    assert await driver.events(created.id) == ["job.created.v1", "job.started.v1", "job.completed.v1"]


async def test_a_failed_run_is_tried_again_after_a_pause(driver: Driver) -> None:
    created = await driver.create(max_attempts=2)
    [leased] = await driver.lease()
    assert await driver.report(failed(leased, stack="line 1")) == ["accepted"]
    job = await driver.job(created.id)
    assert (job.status, job.attempt) == (JobStatus.PENDING, 1)
    assert job.run_at > job.created_at
    assert job.error is not None
    assert (job.error.type, job.error.message, job.error.stack) == ("ValueError", "no", "line 1")
    assert await driver.lease(wait_ms=0) == []

    await driver.do(ForceRunJob(job_id=created.id))
    [again] = await driver.lease()
    await driver.report(failed(again))
    assert (await driver.job(created.id)).status is JobStatus.FAILED


async def test_a_failure_that_cannot_be_helped_fails_the_job_at_once(driver: Driver) -> None:
    created = await driver.create(max_attempts=5)
    [leased] = await driver.lease()
    await driver.report(failed(leased, retryable=False))
    job = await driver.job(created.id)
    assert (job.status, job.attempt) == (JobStatus.FAILED, 1)


async def test_a_failed_job_can_be_retried_and_forced(driver: Driver) -> None:
    job_id = JobId(await driver.ended("failed"))
    retried = job_of(await driver.do(RetryJob(job_id=job_id)))
    assert (retried.status, retried.attempt, retried.run, retried.error) == (JobStatus.PENDING, 0, 1, None)
    forced = job_of(await driver.do(ForceRunJob(job_id=job_id)))
    assert forced.forced
    [again] = await driver.lease()
    assert (again.run, again.attempt) == (2, 1)
    assert not (await driver.job(job_id)).forced


async def test_a_released_run_does_not_count(driver: Driver) -> None:
    created = await driver.create()
    [leased] = await driver.lease()
    assert await driver.report(done(leased, "released")) == ["accepted"]
    [again] = await driver.lease()
    assert (again.job, again.run, again.attempt) == (created.id, 2, 1)


async def test_a_cancelled_run_is_fenced_and_its_stop_confirmed(driver: Driver) -> None:
    created = await driver.create()
    [leased] = await driver.lease()
    cancelled = job_of(await driver.do(CancelJob(job_id=JobId(created.id)), reason="wrong customer"))
    assert (cancelled.status, cancelled.stop) == (JobStatus.CANCELLED, "pending")
    assert (await driver.beat(leased)).cancel == [leased.job]
    assert await driver.report(done(leased, "cancelled")) == ["accepted"]
    assert (await driver.job(created.id)).stop == "confirmed"
    history = (await driver.history(created.id)).items
    assert [item.type for item in history][2:] == ["job.cancelled.v1", "job.stop_confirmed.v1"]
    assert history[2].reason == "wrong customer"


async def test_a_run_that_finished_before_it_heard_of_the_cancel_says_so(driver: Driver) -> None:
    created = await driver.create()
    [leased] = await driver.lease()
    await driver.do(CancelJob(job_id=JobId(created.id)))
    assert await driver.report(done(leased, result={"too": "late"})) == ["accepted"]
    job = await driver.job(created.id)
    assert (job.status, job.stop, job.result) == (JobStatus.CANCELLED, "finished_anyway", None)
