"""A cancel that is taken back, and edits, over the bus: what workers get, what counters and the journal say."""

from datetime import timedelta

import pytest

from jobplane.chassis import clock
from jobplane.contracts.commands import CancelJob, EditJob, RestoreJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus, StopState
from tests.integration.jobs.driving import Driver, done, failed, job_of
from tests.integration.jobs.truth import change

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_cancelled_job_is_restored_and_runs(driver: Driver) -> None:
    job_id = JobId(await driver.ended("cancelled"))
    restored = job_of(await driver.do(RestoreJob(job_id=job_id), reason="it was the wrong one"))
    assert (restored.status, restored.finished_at, restored.stop) == (JobStatus.PENDING, None, None)
    [leased] = await driver.lease()
    assert await driver.report(done(leased)) == ["accepted"]
    assert await driver.events(job_id) == [
        f"job.{word}.v1" for word in ("created", "cancelled", "restored", "started", "completed")
    ]


async def test_a_cancelled_run_is_settled_before_its_job_is_restored(driver: Driver) -> None:
    job = await driver.create(max_attempts=1)
    [leased] = await driver.lease()
    await driver.do(CancelJob(job_id=job.id))
    refused = await driver.do(RestoreJob(job_id=job.id))
    assert (refused.status, refused.code) == ("refused", "stop_pending")
    assert await driver.report(done(leased, "cancelled")) == ["accepted"]
    assert (await driver.job(job.id)).stop is StopState.CONFIRMED
    assert job_of(await driver.do(RestoreJob(job_id=job.id))).attempt == 0
    assert await driver.report(done(leased)) == ["lease_lost"]
    [again] = await driver.lease()
    assert (again.job, again.run, again.attempt) == (job.id, 2, 1)


async def test_a_restore_takes_the_unique_key_again_or_names_who_has_it(driver: Driver) -> None:
    first = await driver.create(unique_key="k")
    await driver.do(CancelJob(job_id=first.id))
    second = await driver.create(unique_key="k")
    refused = await driver.do(RestoreJob(job_id=first.id))
    assert (refused.code, refused.facts["holder"]) == ("unique_key_taken", second.id)
    await driver.do(CancelJob(job_id=second.id))
    assert job_of(await driver.do(RestoreJob(job_id=first.id))).status is JobStatus.PENDING
    refused = await driver.do(RestoreJob(job_id=second.id))
    assert (refused.code, refused.facts["holder"]) == ("unique_key_taken", first.id)


async def test_an_edited_job_runs_with_its_new_payload_where_it_was_put(driver: Driver) -> None:
    job = await driver.create(payload={"side": 1}, queue="elsewhere", run_at=clock.now() + timedelta(hours=1))
    edit = EditJob(job_id=job.id, queue=driver.queue, payload={"side": 2}, run_at=clock.now(), priority=7)
    edited = job_of(await driver.do(edit, reason="too small"))
    assert (edited.queue, edited.payload, edited.priority, edited.version) == (driver.queue, {"side": 2}, 7, 2)
    [leased] = await driver.lease()
    assert (leased.job, leased.payload) == (job.id, {"side": 2})
    change_of_it = (await driver.history(job.id)).items[1]
    assert change_of_it.reason == "too small"
    assert change_of_it.data["changed"] == ["payload", "queue", "priority", "run_at"]


async def test_a_job_that_was_put_off_is_not_given_out(driver: Driver) -> None:
    job = await driver.create()
    await driver.do(EditJob(job_id=job.id, run_at=clock.now() + timedelta(hours=1)))
    assert await driver.lease(wait_ms=0) == []


async def test_a_failed_job_is_corrected_and_retried(driver: Driver) -> None:
    job = await driver.create(payload={"side": 0}, max_attempts=1)
    [leased] = await driver.lease()
    await driver.report(failed(leased))
    await driver.do(EditJob(job_id=job.id, payload={"side": 9}, max_attempts=3), reason="a typing error")
    await driver.do(RetryJob(job_id=job.id))
    [again] = await driver.lease()
    assert (again.payload, again.attempt, again.max_attempts) == ({"side": 9}, 1, 3)


@pytest.mark.parametrize("ended", ["completed", "cancelled"])
async def test_what_is_over_is_not_edited(driver: Driver, ended: str) -> None:
    job_id = JobId(await driver.ended(ended))
    refused = await driver.do(EditJob(job_id=job_id, priority=1))
    assert (refused.status, refused.code) == ("refused", "job_not_editable")


async def test_a_payload_is_not_edited_without_a_reason(driver: Driver) -> None:
    job = await driver.create(payload={"side": 1})
    refused = await driver.do(EditJob(job_id=job.id, payload={"side": 2}))
    assert (refused.status, refused.code) == ("refused", "reason_required")
    assert (await driver.job(job.id)).version == 1


async def test_an_edit_keeps_the_payload_before_it(driver: Driver) -> None:
    job = await driver.create(payload={"side": 1})
    await driver.do(EditJob(job_id=job.id, payload={"side": 2}), reason="too small")
    # Touching both rows shows that both are there.
    assert change(driver.owner_url, "UPDATE body SET ref = ref WHERE job_id = %s", (job.id,)) == 2
