"""Commands, leases and reports against the real service."""

from jobplane.chassis.bus import Connection
from jobplane.contracts.commands import CancelJob, ForceRunJob, RetryJob
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.settings import Settings
from tests.integration.jobs.driving import ask_lease, beat, create, done, message, report, send


async def test_a_job_is_created_leased_and_completed(jobs: Settings, gateway: Connection, worker: Connection) -> None:
    created = await create(gateway, payload={"n": 1})
    assert created.status == "done"
    assert created.job is not None
    assert created.job.status is JobStatus.PENDING
    assert created.job.payload == {"n": 1}
    assert created.position == 1

    [leased] = await ask_lease(worker)
    assert leased.payload == {"n": 1}
    assert leased.attempt == 1

    reply = await report(worker, done(leased, result={"answer": 42}))
    assert [answer.status for answer in reply.answers] == ["accepted"]
    assert [answer.status for answer in (await report(worker, done(leased, result={"answer": 42}))).answers] == [
        "accepted"
    ]


async def test_a_cancelled_run_is_fenced_and_its_stop_confirmed(
    jobs: Settings, gateway: Connection, worker: Connection
) -> None:
    created = await create(gateway)
    assert created.job_id is not None
    [leased] = await ask_lease(worker)
    cancelled = await send(gateway, message(CancelJob(job_id=created.job_id), reason="wrong customer"))
    assert cancelled.job is not None
    assert (cancelled.job.status, cancelled.job.stop) == (JobStatus.CANCELLED, "pending")
    assert (await beat(worker, (leased.job, leased.token))).cancel == [leased.job]
    await report(worker, done(leased, "cancelled"))
    refused = await send(gateway, message(CancelJob(job_id=created.job_id)))
    assert (refused.status, refused.code) == ("refused", "job_finished")
    assert refused.job is not None
    assert refused.job.stop == "confirmed"


async def test_a_failed_job_can_be_retried_and_forced(jobs: Settings, gateway: Connection, worker: Connection) -> None:
    created = await create(gateway, max_attempts=1)
    assert created.job_id is not None
    [leased] = await ask_lease(worker)
    await report(worker, done(leased, "failed", error={"type": "ValueError", "message": "no"}))
    retried = await send(gateway, message(RetryJob(job_id=created.job_id)))
    assert retried.job is not None
    assert (retried.job.status, retried.job.attempt, retried.job.run) == (JobStatus.PENDING, 0, 1)
    forced = await send(gateway, message(ForceRunJob(job_id=created.job_id)))
    assert forced.job is not None
    assert forced.job.forced
    [again] = await ask_lease(worker)
    assert (again.run, again.attempt) == (2, 1)
