"""Unique keys: one job per kind and key among those that wait or run."""

import asyncio

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.contracts.commands import CancelJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.decider import Accepted, AlreadyThere
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from tests.integration.jobs import wishing
from tests.integration.jobs.driving import Driver, done, failed, job_of, message, send
from tests.integration.jobs.truth import assert_consistent, rows_of
from tests.integration.jobs.wishing import command
from tests.support.servers import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def key() -> str:
    return f"key {new_id()}"


async def test_a_taken_key_answers_with_its_holder(driver: Driver, key: str) -> None:
    holder = await driver.create(unique_key=key)
    again = await driver.do(driver.creation(unique_key=key, payload={"ignored": True}))
    assert (again.status, again.code, again.job_id) == ("done", "already_exists", holder.id)
    assert again.position is None
    assert again.job == holder
    await driver.lease()
    running = await driver.do(driver.creation(unique_key=key))
    assert (running.code, running.job_id) == ("already_exists", holder.id)


@pytest.mark.parametrize("outcome", ["completed", "failed", "cancelled"])
async def test_a_key_is_free_again_when_its_holder_has_finished(driver: Driver, key: str, outcome: str) -> None:
    holder = await driver.create(unique_key=key, max_attempts=1)
    if outcome == "cancelled":
        await driver.do(CancelJob(job_id=JobId(holder.id)))
    else:
        [leased] = await driver.lease()
        await driver.report(failed(leased) if outcome == "failed" else done(leased))
    next_one = await driver.do(driver.creation(unique_key=key))
    assert (next_one.status, next_one.code) == ("done", None)
    assert next_one.job_id != holder.id


async def test_a_key_belongs_to_one_kind(driver: Driver, key: str) -> None:
    first = await driver.create(unique_key=key)
    other = await driver.create(unique_key=key, kind="test.other")
    assert first.id != other.id


async def test_a_retry_is_refused_while_another_job_has_the_key(driver: Driver, key: str) -> None:
    old = await driver.create(unique_key=key, max_attempts=1)
    [leased] = await driver.lease()
    await driver.report(failed(leased))
    holder = await driver.create(unique_key=key)
    refused = await driver.do(RetryJob(job_id=JobId(old.id)))
    assert (refused.status, refused.code) == ("refused", "unique_key_taken")
    assert refused.facts == {"status": "FAILED", "holder": holder.id}
    await driver.do(CancelJob(job_id=JobId(holder.id)))
    assert job_of(await driver.do(RetryJob(job_id=JobId(old.id)))).status is JobStatus.PENDING


async def test_of_two_creations_that_arrive_together_one_gets_the_key(driver: Driver, key: str) -> None:
    outcomes = await send(driver.gateway, *(message(driver.creation(unique_key=key)) for _ in range(5)))
    assert [outcome.code for outcome in outcomes] == [None, *["already_exists"] * 4]
    assert len({outcome.job_id for outcome in outcomes}) == 1


async def test_a_key_that_is_freed_and_taken_in_one_batch(ledger: Ledger, key: str, database: Database) -> None:
    old = await wishing.create(ledger, unique_key=key)
    settled = await wishing.settle(
        ledger,
        command(CancelJob(job_id=old.id)),
        command(wishing.creation(unique_key=key)),
        command(wishing.creation(unique_key=key)),
    )
    assert isinstance(settled[1].decision, Accepted)
    assert settled[2].decision == AlreadyThere(settled[1].wish.command.job_id)
    assert_consistent(database.owner_url)


async def test_two_services_never_give_one_key_to_two_jobs(
    pool: AsyncConnectionPool, key: str, database: Database
) -> None:
    ledgers = [Ledger(PostgresStore(Journal(pool))) for _ in range(4)]
    batches = [[command(wishing.creation(unique_key=f"{key} {n % 3}")) for n in range(6)] for _ in ledgers]
    settled = await asyncio.gather(*(ledger.settle(batch) for ledger, batch in zip(ledgers, batches, strict=True)))
    accepted = [one for some in settled for one in some if isinstance(one.decision, Accepted)]
    assert len(accepted) == 3
    assert_consistent(database.owner_url)


async def test_two_services_never_create_one_job_twice(pool: AsyncConnectionPool, database: Database) -> None:
    """Without a row to lock, the second is stopped by the journal, and decides again."""
    ids = [new_id() for _ in range(4)]
    batches = [[command(wishing.creation(job_id=job_id)) for job_id in ids] for _ in range(4)]
    settled = await asyncio.gather(*(Ledger(PostgresStore(Journal(pool))).settle(batch) for batch in batches))
    for n in range(4):
        decisions = [some[n].decision for some in settled]
        assert sum(isinstance(decision, Accepted) for decision in decisions) == 1
        assert [d.code for d in decisions if not isinstance(d, Accepted)] == ["job_exists"] * 3  # type: ignore[union-attr]
    found = rows_of(database.owner_url, "SELECT count(*) FROM event WHERE stream_id = ANY(%s::uuid[])", (ids,))
    assert found == [(4,)]
    assert_consistent(database.owner_url)


async def test_a_retry_and_a_creation_at_once_leave_one_holder(
    pool: AsyncConnectionPool, ledger: Ledger, key: str, database: Database
) -> None:
    old = await wishing.failed(ledger, unique_key=key)
    retry = Ledger(PostgresStore(Journal(pool))).settle([command(RetryJob(job_id=old.id))])
    creation = Ledger(PostgresStore(Journal(pool))).settle([command(wishing.creation(unique_key=key))])
    await asyncio.gather(retry, creation)
    query = "SELECT count(*) FROM job WHERE unique_key = %s AND status = 'PENDING'"
    assert rows_of(database.owner_url, query, (key,)) == [(1,)]
    assert_consistent(database.owner_url)
