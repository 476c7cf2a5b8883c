"""Jobs that somebody waits for already are leased in the transaction that makes them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CancelJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.workers import LeasedJob, LeaseReply, LeaseRequest
from jobplane.jobs.claims import Claims
from jobplane.jobs.decider import Accepted
from jobplane.jobs.leases import Leases
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.wishes import Settled, Wish
from tests.integration.jobs import wishing
from tests.integration.jobs.driving import KIND, Driver, done
from tests.integration.jobs.truth import assert_consistent
from tests.support.servers import Database
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def claims(ledger: Ledger, pool: AsyncConnectionPool) -> Claims:
    """Claims of a service without a bus."""
    return Claims(ledger, pool)


@pytest_asyncio.fixture(loop_scope="module")
async def leases(claims: Claims, database: Database) -> AsyncIterator[Leases]:
    """The desks of that service."""
    made = Leases(claims)
    yield made
    await made.close()
    assert_consistent(database.owner_url)


def request(**more: Any) -> LeaseRequest:
    """A long poll."""
    told: dict[str, Any] = {"request_id": new_id(), "worker": "worker-1", "kinds": [KIND], "wait_ms": 30_000}
    return LeaseRequest(**(told | more))


async def make(leases: Leases, ledger: Ledger, *wishes: Wish) -> list[Settled]:
    """Settle wishes as soon as one of their jobs can be promised."""

    async def promised() -> list[Settled] | None:
        with leases.promising(wishes) as promises:
            if not promises.leases:
                return None
            settled = await ledger.settle(wishes, promises.leases)
            promises.keep(settled[len(wishes) :])
            return settled

    return await eventually(promised, timeout=20)


async def test_making_and_starting_are_one_transaction(leases: Leases, ledger: Ledger, claims: Claims) -> None:
    queue, asked = new_id(), request(max=2)
    polling = asyncio.create_task(leases.lease(queue, asked))
    wishes = [wishing.command(wishing.creation(queue, payload={"n": n}, tags=["a"])) for n in range(3)]
    *created, first, second = await make(leases, ledger, *wishes)
    assert [item.position for item in (*created, first, second)] == [
        (created[0].position or 0) + offset for offset in range(5)
    ]
    reply = await polling
    assert [job.job for job in reply.jobs] == [wish.command.job_id for wish in wishes[:2]]
    assert [job.payload for job in reply.jobs] == [{"n": 0}, {"n": 1}]
    # What another replica would find, should the answer get lost on its way.
    assert await claims.given(asked) == reply.jobs
    assert [item.held.job.status for item in created if item.held] == [
        JobStatus.RUNNING,
        JobStatus.RUNNING,
        JobStatus.PENDING,
    ]


async def test_a_creation_that_comes_again_hands_out_nothing(leases: Leases, ledger: Ledger) -> None:
    queue = new_id()
    polling = asyncio.create_task(leases.lease(queue, request()))
    wish = wishing.command(wishing.creation(queue))
    created, _ = await make(leases, ledger, wish)
    [leased] = (await polling).jobs
    waiting = asyncio.create_task(leases.lease(queue, request(worker="worker-2")))
    [again] = await make(leases, ledger, wish)
    assert isinstance(again.decision, Stored)
    assert again.decision.position == created.position
    fresh = wishing.command(wishing.creation(queue))
    await make(leases, ledger, fresh)
    assert [job.job for job in (await waiting).jobs] == [fresh.command.job_id]
    assert leased.job == wish.command.job_id


async def test_an_id_that_was_used_before_is_not_handed_out(leases: Leases, ledger: Ledger) -> None:
    there = await wishing.create(ledger, queue=new_id(), kind="test.other")
    queue = new_id()
    waiting = asyncio.create_task(leases.lease(queue, request(max=2)))
    wishes = [wishing.command(wishing.creation(queue, job_id=job_id)) for job_id in (there.id, new_id())]
    refused, created, lease = await make(leases, ledger, *wishes)
    assert [type(item.decision).__name__ for item in (refused, created, lease)] == ["Rejected", "Accepted", "Accepted"]
    assert [job.job for job in (await waiting).jobs] == [created.wish.command.job_id]


async def test_a_job_that_is_not_made_is_not_handed_out(leases: Leases, ledger: Ledger) -> None:
    queue, key = new_id(), new_id()
    waiting = asyncio.create_task(leases.lease(queue, request(max=2)))
    wishes = [wishing.command(wishing.creation(queue, unique_key=key)) for _ in range(2)]
    *_, given, refused = await make(leases, ledger, *wishes)
    assert isinstance(given.decision, Accepted)
    assert not isinstance(refused.decision, Accepted)
    assert [job.job for job in (await waiting).jobs] == [given.wish.command.job_id]


async def test_after_a_lost_commit_the_repeated_request_finds_the_job(
    leases: Leases, ledger: Ledger, claims: Claims
) -> None:
    queue, asked = new_id(), request()
    waiting = asyncio.create_task(leases.lease(queue, asked))
    wish = wishing.command(wishing.creation(queue))

    async def promised() -> bool:
        with leases.promising([wish]) as promises:
            if promises.leases:
                await ledger.settle([wish], promises.leases)
                raise psycopg.OperationalError("the connection is gone, after the commit")
        return False

    with pytest.raises(psycopg.OperationalError):
        await eventually(promised, timeout=20)
    assert (await waiting).error == "unavailable"
    repeated = await leases.lease(queue, asked.model_copy(update={"repeated": True}))
    assert isinstance(repeated, LeaseReply)
    assert [job.job for job in repeated.jobs] == [wish.command.job_id]


async def test_a_worker_that_waits_runs_a_new_job_like_any_other(driver: Driver) -> None:
    async def handed_out() -> LeasedJob | None:
        polling = asyncio.create_task(driver.lease(wait_ms=20_000))
        assert await driver.lease(wait_ms=0, kinds=["test.other"]) == []
        created = await driver.create(payload={"a": 1})
        [leased] = await polling
        assert leased.job == created.id
        if created.status is JobStatus.RUNNING:
            assert created.started_at == created.created_at
            return leased
        await driver.report(done(leased))
        return None

    leased = await eventually(handed_out, timeout=20)
    assert leased.payload == {"a": 1}
    assert (await driver.beat(leased)).lost == []
    await driver.do(CancelJob(job_id=JobId(leased.job)))
    assert (await driver.beat(leased)).cancel == [leased.job]
    await driver.report(done(leased, "cancelled"))
    assert await driver.events(leased.job) == [
        "job.created.v1",
        "job.started.v1",
        "job.cancelled.v1",
        "job.stop_confirmed.v1",
    ]
