"""Long polls without a database: who is answered when."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
import pytest_asyncio

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import worker
from jobplane.contracts.commands import AnyJobCommand, CreateJob, ForceRunJob
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import MAX_LEASE_REPLY_BYTES, LeaseReply, LeaseRequest
from jobplane.jobs import bodies, leases
from jobplane.jobs.allowance import Permit
from jobplane.jobs.batch import Batch
from jobplane.jobs.claims import Claims, Dealt
from jobplane.jobs.leases import Leases, Promises
from jobplane.jobs.wishes import Cause, Wish
from tests.support.waiting import eventually

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class NoJobs:
    """Claims of an empty queue; `looks` counts them, and each waits for `open`."""

    def __init__(self) -> None:
        self.looks = 0
        self.permit: Permit | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def claim(self, _queue: str, requests: Sequence[LeaseRequest]) -> Dealt:
        self.looks += 1
        await self.open.wait()
        return Dealt([[] for _ in requests], self.permit)


class Desk:
    """Workers that wait for jobs of one queue, and jobs that are made there."""

    def __init__(self) -> None:
        self.claims = NoJobs()
        self.leases = Leases(cast("Claims", self.claims))

    async def wait(self, **more: Any) -> asyncio.Task[LeaseReply]:
        """A poll that has looked in vain."""
        polling = self.poll(**more)
        await turn()
        return polling

    def poll(self, **more: Any) -> asyncio.Task[LeaseReply]:
        """A poll that comes in the next turn of the event loop."""
        told: dict[str, Any] = {"request_id": new_id(), "worker": "worker-1", "kinds": ["test.echo"], "wait_ms": 30_000}
        return asyncio.create_task(self.leases.lease("default", LeaseRequest(**(told | more))))

    def make(self, *wishes: Wish) -> list[JobId]:
        """Make jobs in one transaction; gives those that were promised, in order."""
        with self.leases.promising(wishes) as promises:
            keep(promises, wishes)
            return [lease.command.job_id for lease in promises.leases]


@pytest_asyncio.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(leases, "LOOK_AGAIN_S", 3600.0)
    made = Desk()
    yield made
    made.claims.open.set()
    await made.leases.close()


async def turn() -> None:
    """Let everything happen that nothing holds up."""
    for _ in range(20):
        await asyncio.sleep(0)


def keep(promises: Promises, wishes: Sequence[Wish]) -> None:
    """Settle as a transaction would that finds nothing there."""
    batch = Batch(now=NOW, stored={}, holders={}, jobs={})
    for wish in (*wishes, *promises.leases):
        batch.settle(wish)
    promises.keep(batch.settled[len(wishes) :])


def creation(**more: Any) -> Wish:
    """A job to make."""
    command = CreateJob(**({"job_id": new_id(), "kind": "test.echo", "queue": "default"} | more))
    wish = wishing(command)
    if command.payload:
        wish.body = bodies.seal(wish.event_id, command.payload)
    return wish


def wishing(command: AnyJobCommand) -> Wish:
    return Wish(command, Cause(worker("worker-1"), new_id()))


def ids(*polls: asyncio.Task[LeaseReply]) -> list[list[str]]:
    """What ended polls were given."""
    return [[job.job for job in poll.result().jobs] for poll in polls]


def job_ids(*wishes: Wish) -> list[str]:
    return [wish.command.job_id for wish in wishes]


async def test_a_request_can_be_taken_back_more_than_once() -> None:
    desk = Leases(cast("Claims", NoJobs()))
    request = LeaseRequest(request_id="request-1", worker="worker-1", kinds=["test.echo"], wait_ms=3000)
    back = request.model_copy(update={"wait_ms": 0, "repeated": True})
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*(desk.lease("default", one) for one in (request, back, back, back)))
    assert answers == [LeaseReply()] * 4
    await desk.close()


async def test_a_new_job_goes_to_the_worker_that_waits(desk: Desk) -> None:
    polling = await desk.wait(lease_ms=5000)
    made = creation(payload={"a": 1}, tags=["x"])
    desk.make(made)
    [job] = (await polling).jobs
    assert (job.job, job.run, job.attempt, job.payload, job.tags) == (made.command.job_id, 1, 1, {"a": 1}, ["x"])
    assert job.token
    assert job.lease_ends_at == NOW + timedelta(seconds=5)
    assert desk.claims.looks == 1


async def test_nothing_is_promised_where_nobody_waits_for_it(desk: Desk) -> None:
    assert desk.make(creation()) == []
    polling = await desk.wait()
    assert desk.make(creation(kind="test.other"), creation(queue="other")) == []
    assert not polling.done()


async def test_a_poll_that_has_not_looked_yet_is_promised_nothing(desk: Desk) -> None:
    desk.claims.open.clear()
    polling = await desk.wait()
    assert desk.make(creation()) == []
    desk.claims.open.set()
    await turn()
    [made] = job_ids(one := creation())
    assert desk.make(one) == [made]
    await turn()
    assert ids(polling) == [[made]]


async def test_what_became_ready_before_is_looked_for_first(desk: Desk) -> None:
    await desk.wait()
    desk.leases.wake("default")
    assert desk.make(creation()) == []
    await turn()
    assert desk.claims.looks == 2
    assert len(desk.make(creation())) == 1


@pytest.mark.parametrize(
    "other",
    [creation(run_at=NOW), creation(run_at=NOW + timedelta(days=1)), wishing(ForceRunJob(job_id=JobId(new_id())))],
    ids=["a past time", "a time to come", "another command"],
)
async def test_beside_anything_else_nothing_is_promised(desk: Desk, other: Wish) -> None:
    await desk.wait()
    assert desk.make(creation(), other) == []


async def test_a_creation_that_comes_twice_is_not_promised(desk: Desk) -> None:
    await desk.wait(max=2)
    one = creation()
    assert desk.make(one, one) == []


async def test_jobs_are_promised_in_the_order_of_taking(desk: Desk) -> None:
    polling = await desk.wait(max=2)
    low, first, urgent = creation(priority=-1), creation(), creation(priority=5)
    assert desk.make(low, first, urgent) == job_ids(urgent, first)
    await turn()
    assert ids(polling) == [job_ids(urgent, first)]


async def test_new_jobs_are_dealt_in_turn_and_nobody_gets_more_than_it_wants(desk: Desk) -> None:
    polls = [await desk.wait(max=most, worker=f"worker-{most}") for most in (1, 3)]
    made = [creation() for _ in range(5)]
    assert desk.make(*made) == job_ids(*made[:4])
    await turn()
    assert ids(*polls) == [job_ids(made[0]), job_ids(*made[1:4])]


async def test_a_worker_that_knows_more_kinds_does_not_stand_in_the_way(desk: Desk) -> None:
    knows_both, knows_one = await desk.wait(kinds=["test.other", "test.echo"]), await desk.wait()
    other, echo = creation(kind="test.other"), creation()
    desk.make(other, echo)
    await turn()
    assert ids(knows_both, knows_one) == [job_ids(other), job_ids(echo)]


async def test_who_waits_longest_is_served_first(desk: Desk) -> None:
    first, second = await desk.wait(), await desk.wait()
    one, other = creation(), creation()
    desk.make(one)
    desk.make(other)
    await turn()
    assert ids(first, second) == [job_ids(one), job_ids(other)]


async def test_an_answer_is_cut_by_bytes(desk: Desk) -> None:
    polling = await desk.wait(max=10)
    large = [creation(payload={"text": "x" * (200 * 1024)}) for _ in range(3)]
    assert desk.make(*large) == job_ids(*large[: MAX_LEASE_REPLY_BYTES // (200 * 1024)])
    assert len((await polling).jobs) == 2


async def test_one_poll_is_not_promised_to_two_transactions(desk: Desk) -> None:
    polling = await desk.wait(max=10)
    one, other = creation(), creation()
    with desk.leases.promising([one]) as promises:
        assert desk.make(other) == []
        keep(promises, [one])
    await turn()
    assert ids(polling) == [job_ids(one)]


async def test_a_poll_with_a_promise_takes_part_in_no_look(desk: Desk) -> None:
    polling = await desk.wait()
    one = creation()
    with desk.leases.promising([one]) as promises:
        desk.leases.wake("default")
        await turn()
        assert desk.claims.looks == 1
        keep(promises, [one])
    await turn()
    assert ids(polling) == [job_ids(one)]


async def test_without_the_job_a_poll_looks_again_and_waits_on(desk: Desk) -> None:
    polling = await desk.wait()
    with desk.leases.promising([creation()]) as promises:
        promises.keep([])
    await turn()
    assert desk.claims.looks == 2
    desk.make(one := creation())
    await turn()
    assert ids(polling) == [job_ids(one)]


async def test_a_lease_that_is_refused_is_not_told(desk: Desk) -> None:
    polling = await desk.wait()
    with desk.leases.promising([creation()]) as promises:
        batch = Batch(now=NOW, stored={}, holders={}, jobs={})
        batch.settle(promises.leases[0])
        promises.keep(batch.settled)
    await turn()
    assert not polling.done()


async def test_when_nobody_knows_what_was_given_the_worker_asks_again(desk: Desk) -> None:
    polling = await desk.wait()
    with pytest.raises(Unavailable), desk.leases.promising([creation()]):
        raise Unavailable("gone")
    assert (await polling).error == "unavailable"


async def test_a_request_taken_back_gets_what_it_was_promised(desk: Desk) -> None:
    polling = await desk.wait(request_id="request-1")
    with desk.leases.promising([one := creation()]) as promises:
        back = desk.poll(request_id="request-1", wait_ms=0, repeated=True)
        await turn()
        assert not back.done()
        keep(promises, [one])
    await turn()
    assert ids(polling, back) == [job_ids(one)] * 2


async def test_a_request_taken_back_ends_when_its_promise_is_not_kept(desk: Desk) -> None:
    polling = await desk.wait(request_id="request-1")
    with desk.leases.promising([creation()]):
        back = desk.poll(request_id="request-1", wait_ms=0, repeated=True)
        await turn()
    await turn()
    assert ids(polling, back) == [[], []]


@pytest.mark.parametrize("kept", [True, False])
async def test_a_service_that_ends_keeps_its_promises(desk: Desk, *, kept: bool) -> None:
    polling = await desk.wait()
    with desk.leases.promising([one := creation()]) as promises:
        await desk.leases.close()
        assert not polling.done()
        if kept:
            keep(promises, [one])
    await turn()
    assert ids(polling) == [job_ids(one) if kept else []]
    assert desk.make(creation()) == []


async def test_where_something_is_controlled_nothing_is_promised(desk: Desk) -> None:
    desk.claims.permit = Permit({}, [], 0)
    await desk.wait()
    assert desk.make(creation()) == []


async def test_the_desk_looks_when_a_rate_allows_the_next_start(desk: Desk) -> None:
    desk.claims.permit = Permit({}, [], 0, again_in=timedelta(milliseconds=5))
    await desk.wait()
    await eventually(lambda: desk.claims.looks > 2)
