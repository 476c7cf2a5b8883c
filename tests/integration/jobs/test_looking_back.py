"""History, attempts and the job as it was, through the real service."""

from datetime import UTC, datetime, timedelta

import pytest

from jobplane.chassis import queries
from jobplane.chassis.ids import new_id
from jobplane.contracts import instants
from jobplane.contracts.commands import CancelJob, EditJob, RetryJob
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import Attempts, JobStatus, JobView, StopState
from jobplane.contracts.queries import OneJob, OneJobAttempts
from tests.integration.jobs.driving import Driver, done, failed
from tests.integration.jobs.truth import change

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def attempts(driver: Driver, job_id: JobId, **more: int | str | None) -> Attempts:
    asked = OneJobAttempts.model_validate({"job_id": job_id, **more})
    return await queries.ask(driver.gateway, "jobs", "attempts", asked, Attempts)


async def then(driver: Driver, asked: OneJob) -> JobView:
    return await queries.ask(driver.gateway, "jobs", "detail", asked, JobView)


async def edited_and_retried(driver: Driver) -> JobId:
    job = await driver.create(payload={"side": 1}, max_attempts=1)
    [leased] = await driver.lease()
    await driver.report(failed(leased))
    await driver.do(EditJob(job_id=job.id, payload={"side": 2}, priority=4), reason="too small")
    await driver.do(RetryJob(job_id=job.id), reason="again")
    [leased] = await driver.lease()
    await driver.report(done(leased, result="ok"))
    return job.id


async def test_a_history_says_what_each_event_changed(driver: Driver) -> None:
    job_id = await edited_and_retried(driver)
    created, _, _, edited, retried, _, completed = (await driver.history(job_id)).items
    assert {change.field: change.after for change in created.changes}["payload"] == {"side": 1}
    assert [(one.field, one.before, one.after) for one in edited.changes] == [
        ("priority", 0, 4),
        ("payload", {"side": 1}, {"side": 2}),
    ]
    assert edited.data == {"changed": ["payload", "priority"]}
    assert {change.field for change in retried.changes} == {"status", "run_at", "attempt", "finished_at", "error"}
    assert completed.changes[-1].after == "ok"


async def test_a_page_of_a_history_knows_what_was_before_it(driver: Driver) -> None:
    job_id = await edited_and_retried(driver)
    whole = (await driver.history(job_id)).items
    first = await driver.history(job_id, limit=3)
    rest = await driver.history(job_id, cursor=first.next_cursor)
    assert first.items + rest.items == whole


async def test_an_erased_payload_is_not_in_the_history(driver: Driver) -> None:
    job = await driver.create(payload={"side": 1})
    await driver.do(EditJob(job_id=job.id, payload={"side": 2}), reason="too small")
    move = "UPDATE body SET ref = %s WHERE ref = (SELECT id FROM event WHERE stream_id = %s AND version = 1)"
    elsewhere = new_id()
    assert change(driver.owner_url, move, (elsewhere, job.id)) == 1
    [edited] = [item for item in (await driver.history(job.id)).items if item.type == "job.edited.v1"]
    assert (edited.changes[0].before, edited.changes[0].after) == ({"erased": True}, {"side": 2})
    back = "UPDATE body SET ref = (SELECT id FROM event WHERE stream_id = %s AND version = 1) WHERE ref = %s"
    assert change(driver.owner_url, back, (job.id, elsewhere)) == 1


async def test_a_job_is_shown_as_it_was(driver: Driver) -> None:
    job_id = await edited_and_retried(driver)
    history = (await driver.history(job_id)).items
    for item in history:
        was = await then(driver, OneJob(job_id=job_id, position=item.position))
        assert (was.version, was.status, was.position) == (item.version, item.after, item.position)
    before = await then(driver, OneJob(job_id=job_id, position=history[2].position))
    assert (before.payload, before.priority, before.status) == ({"side": 1}, 0, JobStatus.FAILED)
    assert before.error is not None
    assert before.error.message == "no"
    now = await then(driver, OneJob(job_id=job_id, at=history[-1].at))
    assert now == await driver.job(job_id)
    with pytest.raises(Refused, match="job_not_found") as too_early:
        await then(driver, OneJob(job_id=job_id, at=history[0].at - timedelta(microseconds=1)))
    assert too_early.value.facts["created_at"] == instants.written(history[0].at)
    with pytest.raises(Refused, match="job_not_found"):
        await then(driver, OneJob(job_id=JobId(new_id()), position=1))
    with pytest.raises(Refused, match="position_not_reached"):
        await then(driver, OneJob(job_id=job_id, position=2**62))
    with pytest.raises(Refused, match="as_of_in_the_future"):
        await then(driver, OneJob(job_id=job_id, at=history[-1].at + timedelta(days=1)))


async def test_the_attempts_of_a_job_outlive_its_retry(driver: Driver) -> None:
    job_id = await edited_and_retried(driver)
    first, second = (await attempts(driver, job_id)).items
    assert (first.run, first.attempt, first.worker, first.outcome) == (1, 1, driver.name, "failed")
    assert first.error is not None
    assert (first.error.type, first.error.message) == ("ValueError", "no")
    assert (second.run, second.attempt, second.outcome, second.error) == (2, 1, "completed", None)
    page = await attempts(driver, job_id, limit=1)
    assert page.items == [first]
    assert (await attempts(driver, job_id, cursor=page.next_cursor)).items == [second]
    with pytest.raises(Refused, match="job_not_found"):
        await attempts(driver, JobId(new_id()))
    with pytest.raises(Refused, match="invalid_cursor"):
        await attempts(driver, job_id, cursor="nonsense")


async def test_a_copy_says_where_it_comes_from(driver: Driver) -> None:
    source = await driver.create(payload={"side": 1})
    copy = await driver.create(payload={"side": 1}, cloned_from=source.id)
    assert (await driver.job(copy.id)).cloned_from == source.id
    [created] = (await driver.history(copy.id)).items
    assert ("cloned_from", source.id) in [(one.field, one.after) for one in created.changes]


async def test_the_detail_of_a_job_says_that_its_payload_was_erased(driver: Driver) -> None:
    job = await driver.create(payload={"side": 1})
    elsewhere = new_id()
    assert change(driver.owner_url, "UPDATE body SET ref = %s WHERE job_id = %s", (elsewhere, job.id)) == 1
    assert (await driver.job(job.id)).payload is None
    back = "UPDATE body SET ref = (SELECT id FROM event WHERE stream_id = %s) WHERE ref = %s"
    assert change(driver.owner_url, back, (job.id, elsewhere)) == 1
    assert (await driver.create()).payload == {}


async def test_a_job_that_never_ran_has_no_attempts(driver: Driver) -> None:
    assert (await attempts(driver, JobId(await driver.pending()))).items == []


async def test_a_cancelled_job_tells_when_its_stop_was_asked_for_and_settled(driver: Driver) -> None:
    job = await driver.create()
    [leased] = await driver.lease()
    await driver.do(CancelJob(job_id=job.id))
    asked = await driver.job(job.id)
    assert asked.stopping is not None
    assert (asked.stopping.requested_at, asked.stopping.outcome) == (asked.finished_at, StopState.PENDING)
    assert asked.stopping.settled_at is None
    heard = datetime.now(UTC)
    await driver.report(done(leased, "cancelled", stop_heard_at=heard))
    settled = (await driver.job(job.id)).stopping
    assert settled is not None
    assert settled.outcome is StopState.CONFIRMED
    assert settled.settled_at == (await driver.history(job.id)).items[-1].at
    assert settled.signalled_at is not None
    assert settled.settled_at is not None
    assert asked.stopping.requested_at <= heard == settled.signalled_at <= settled.settled_at
    [attempt] = (await attempts(driver, job.id)).items
    assert attempt.stop_signalled_at == heard
    assert (attempt.outcome, attempt.stop, attempt.stop_settled_at) == ("cancelled", "confirmed", settled.settled_at)
    assert (await driver.page(queue=[driver.queue])).items[0].stopping is None
