"""Archived jobs: their rows are gone, what they lived through is not."""

from datetime import timedelta

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock, queries
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import RetryJob
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus, JobView
from jobplane.contracts.operations import BulkAction
from jobplane.contracts.queries import OneCommand, OneJob
from jobplane.jobs.archiver import Archiver
from jobplane.jobs.ledger import Ledger
from tests.integration.jobs.bulking import Bulk
from tests.integration.jobs.driving import Driver, message, send
from tests.integration.jobs.truth import rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def archived(driver: Driver, ledger: Ledger, pool: AsyncConnectionPool, outcome: str = "failed") -> JobId:
    """A job that is over and archived at once; ids tell when they were made, so the driver's are born earlier."""
    job_id = JobId(await driver.ended(outcome))
    at_once = timedelta(milliseconds=1)
    status = JobStatus(outcome.upper())
    assert await Archiver(ledger, pool, {status: at_once}).run_once() >= 1
    return job_id


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
async def test_an_archived_job_leaves_lists_and_counts_but_can_be_looked_at(
    driver: Driver, ledger: Ledger, pool: AsyncConnectionPool, outcome: str
) -> None:
    job_id = await archived(driver, ledger, pool, outcome)
    assert (await driver.page(queue=[driver.queue])).items == []
    counts = "SELECT sum(n)::int FROM job_count WHERE queue = %s"
    assert rows_of(driver.owner_url, counts, (driver.queue,)) == [(0,)]
    shown = await driver.job(job_id)
    last = (await driver.history(job_id)).items[-1]
    assert (last.type, last.actor.id, last.changes) == ("job.archived.v1", "archiver", [])
    assert (shown.status, shown.archived_at, shown.version) == (outcome.upper(), last.at, last.version)
    before = await queries.ask(
        driver.gateway, "jobs", "detail", OneJob(job_id=job_id, position=last.position - 1), JobView
    )
    assert before.archived_at is None


async def test_nothing_can_be_done_with_an_archived_job(
    driver: Driver, ledger: Ledger, pool: AsyncConnectionPool
) -> None:
    job_id = await archived(driver, ledger, pool)
    wanted = message(RetryJob(job_id=job_id))
    [refused] = await send(driver.gateway, wanted)
    assert (refused.status, refused.code) == ("refused", "job_archived")
    asked = OneCommand(command_id=wanted.command_id)
    assert (await queries.ask(driver.gateway, "jobs", "command", asked, CommandOutcome)).code == "job_archived"
    for more in ({}, {"unique_key": new_id()}):
        assert (await driver.do(driver.creation(job_id=job_id, **more))).code == "job_archived"
    unknown = await driver.do(RetryJob(job_id=JobId(new_id())))
    assert unknown.code == "job_not_found"
    with pytest.raises(Refused, match="job_not_found"):
        await driver.job(new_id())


async def test_what_is_younger_or_of_another_status_is_kept(
    driver: Driver, ledger: Ledger, pool: AsyncConnectionPool
) -> None:
    failed, cancelled = await driver.ended("failed"), await driver.ended("cancelled")
    day = timedelta(days=1)
    assert await Archiver(ledger, pool, {JobStatus.FAILED: day, JobStatus.CANCELLED: day}).run_once() == 0
    assert await Archiver(ledger, pool, {}).run_once() == 0
    assert {item.id for item in (await driver.page(queue=[driver.queue])).items} == {failed, cancelled}
    assert clock.now() > (await driver.job(failed)).created_at


async def test_what_a_bulk_operation_did_stays_in_the_history(
    driver: Driver, ledger: Ledger, pool: AsyncConnectionPool
) -> None:
    job_id = await driver.pending()
    await Bulk(pool).do(BulkAction.CANCEL, [job_id])
    assert await Archiver(ledger, pool, {JobStatus.CANCELLED: timedelta(milliseconds=1)}).run_once() >= 1
    assert await driver.events(job_id) == ["job.created.v1", "job.cancelled.v1", "job.archived.v1"]
    assert (await driver.job(job_id)).status is JobStatus.CANCELLED


async def test_archiving_goes_on_bite_by_bite(driver: Driver, ledger: Ledger, pool: AsyncConnectionPool) -> None:
    for _ in range(3):
        await driver.ended("cancelled")
    at_once = {JobStatus.CANCELLED: timedelta(milliseconds=1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobplane.jobs.archiver._AT_ONCE", 2)
        assert await Archiver(ledger, pool, at_once).run_once() >= 3
    assert (await driver.page(queue=[driver.queue])).items == []
