"""Long polls of workers: when they are answered, with which jobs, in which order, and how often."""

import asyncio
import json
from datetime import timedelta

import pytest

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import ForceRunJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.subjects import lease
from jobplane.contracts.topology import MAX_MESSAGE_BYTES
from jobplane.contracts.workers import LeaseReply
from tests.integration.jobs.driving import Driver, done
from tests.integration.jobs.truth import change

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON_S = 1.5
"""Less than waiting polls take to look by themselves."""


async def test_a_waiting_poll_is_answered_as_soon_as_a_job_is_created(driver: Driver) -> None:
    polling = asyncio.create_task(driver.lease(wait_ms=20_000))
    assert await driver.lease(wait_ms=0, kinds=["test.other"]) == []  # so the first one waits by now
    created = await driver.create()
    [leased] = await asyncio.wait_for(polling, SOON_S)
    assert leased.job == created.id


async def test_a_poll_without_patience_is_answered_at_once(driver: Driver) -> None:
    assert await asyncio.wait_for(driver.lease(wait_ms=0), SOON_S) == []


async def test_a_poll_ends_with_nothing_when_its_time_is_over(driver: Driver) -> None:
    assert await asyncio.wait_for(driver.lease(wait_ms=100), SOON_S) == []


async def test_a_worker_gets_only_the_kinds_it_knows(driver: Driver) -> None:
    other = await driver.create(kind="test.other")
    known = await driver.create()
    assert [job.job for job in await driver.lease()] == [known.id]
    assert [job.job for job in await driver.lease(kinds=["test.other", "test.echo"])] == [other.id]


async def test_no_more_jobs_than_asked_for_are_given(driver: Driver) -> None:
    created = await driver.create_many(5)
    first = await driver.lease(max=2)
    second = await driver.lease(max=10)
    assert [job.job for job in first + second] == [job.id for job in created]


async def test_forced_jobs_come_first_then_priority_then_age(driver: Driver) -> None:
    old = await driver.create()
    young = await driver.create()
    urgent = await driver.create(priority=5)
    low = await driver.create(priority=-5)
    forced = await driver.create(priority=-10, run_at=clock.now() + timedelta(days=1))
    await driver.create(priority=10, run_at=clock.now() + timedelta(days=1))
    await driver.do(ForceRunJob(job_id=JobId(forced.id)))
    # Asked for one by one: an answer lists the jobs of one claim in no promised order.
    given = [(await driver.lease(max=1))[0].job for _ in range(5)]
    assert given == [forced.id, urgent.id, old.id, young.id, low.id]
    assert await driver.lease(wait_ms=0) == []


async def test_a_repeated_request_gets_the_same_answer(driver: Driver) -> None:
    await driver.create_many(2)
    request_id = new_id()
    first = await driver.lease(max=1, request_id=request_id)
    again = await driver.lease(max=1, request_id=request_id, repeated=True)
    assert first == again
    assert len(await driver.lease()) == 1


async def test_a_request_that_waits_can_be_repeated(driver: Driver) -> None:
    request_id = new_id()
    polls = [asyncio.create_task(driver.lease(request_id=request_id, repeated=n > 0)) for n in range(3)]
    await driver.create()
    first, *others = await asyncio.gather(*polls)
    assert len(first) == 1
    assert others == [first, first]


async def test_another_worker_gets_nothing_by_repeating_a_request(driver: Driver) -> None:
    await driver.create()
    request_id = new_id()
    assert len(await driver.lease(request_id=request_id)) == 1
    assert await driver.lease(request_id=request_id, worker="worker-2", repeated=True, wait_ms=0) == []


async def test_two_waiting_workers_share_what_becomes_ready(driver: Driver) -> None:
    await driver.create_many(4, run_at=clock.now() + timedelta(hours=1))
    polls = [asyncio.create_task(driver.lease(worker=f"worker-{n}", wait_ms=20_000)) for n in (1, 2)]
    assert await driver.lease(wait_ms=0, kinds=["test.other"]) == []
    # All become due at once, so that one claim deals them.
    change(driver.owner_url, "UPDATE job SET run_at = now() WHERE queue = %s", (driver.queue,))
    shares = await asyncio.wait_for(asyncio.gather(*polls), 3)
    assert [len(share) for share in shares] == [2, 2]
    restore = "UPDATE job SET run_at = (e.data->>'run_at')::timestamptz FROM event e WHERE e.stream_id = job.id AND "
    change(driver.owner_url, f"{restore} e.type = 'job.created.v1' AND queue = %s", (driver.queue,))


@pytest.mark.parametrize("letter", ["x", "語"])
async def test_an_answer_is_cut_by_bytes_and_no_attempt_lost(driver: Driver, letter: str) -> None:
    # Escaped or not, a payload is at most 256 KiB; six of them are too much for one message.
    text = letter * (250 * 1024 if letter == "x" else 42 * 1024)
    jobs = 6 if letter == "x" else 12
    for _ in range(jobs):
        await driver.create(payload={"text": text})
    given: set[str] = set()
    answers = 0
    while len(given) < jobs:
        subject = lease(driver.queue)
        request = {"request_id": new_id(), "worker": driver.name, "kinds": ["test.echo"], "max": jobs, "wait_ms": 3000}
        answer = await driver.worker.request(subject, json.dumps(request).encode(), timeout=10)
        assert len(answer.data) < MAX_MESSAGE_BYTES
        leased = LeaseReply.model_validate_json(answer.data).jobs
        assert leased
        assert {job.attempt for job in leased} == {1}
        given |= {job.job for job in leased}
        answers += 1
        assert await driver.report(*(done(job) for job in leased)) == ["accepted"] * len(leased)
    assert 1 < answers < jobs


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_id": "with\x00nothing"},
        {"kinds": ["nul\x00"]},
        {"kinds": []},
        {"worker": "not a name"},
        {"lease_ms": 10},
        {"max": 100_000},
    ],
)
async def test_an_invalid_request_is_told_so_and_disturbs_nobody(driver: Driver, wrong: dict[str, object]) -> None:
    polling = asyncio.create_task(driver.lease(wait_ms=10_000))
    told = {"request_id": new_id(), "worker": driver.name, "kinds": ["test.echo"], **wrong}
    answer = await driver.worker.request(lease(driver.queue), json.dumps(told).encode(), timeout=5)
    assert LeaseReply.model_validate_json(answer.data).error == "invalid"
    created = await driver.create()
    assert [job.job for job in await polling] == [created.id]


async def test_a_queue_that_cannot_exist_is_told_so(driver: Driver) -> None:
    request = {"request_id": new_id(), "worker": driver.name, "kinds": ["test.echo"]}
    answer = await driver.worker.request("jobs.lease.Not_A_Queue", json.dumps(request).encode(), timeout=5)
    assert LeaseReply.model_validate_json(answer.data).error == "invalid"


async def test_a_worker_that_ends_takes_its_request_back(driver: Driver) -> None:
    request_id = new_id()
    polling = asyncio.create_task(driver.lease(request_id=request_id, wait_ms=20_000))
    assert await driver.lease(wait_ms=0, kinds=["test.other"]) == []
    assert await driver.lease(request_id=request_id, wait_ms=0, repeated=True) == []
    assert await asyncio.wait_for(polling, SOON_S) == []
    created = await driver.create()
    assert [job.job for job in await driver.lease()] == [created.id]


async def test_what_was_given_meanwhile_is_not_lost_by_taking_the_request_back(driver: Driver) -> None:
    request_id = new_id()
    await driver.create()
    [leased] = await driver.lease(request_id=request_id)
    assert await driver.lease(request_id=request_id, wait_ms=0, repeated=True) == [leased]


async def test_only_the_clock_of_the_database_counts(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = clock.now
    monkeypatch.setattr(clock, "now", lambda: slow() - timedelta(seconds=30))
    polling = asyncio.create_task(driver.lease(wait_ms=20_000))
    assert await driver.lease(wait_ms=0, kinds=["test.other"]) == []
    created = await driver.create()
    [leased] = await asyncio.wait_for(polling, SOON_S)
    assert leased.job == created.id
