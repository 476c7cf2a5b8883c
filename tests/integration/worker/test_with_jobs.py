"""The SDK against the real jobs service: what the scripted one promises is what it does."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from jobplane.chassis import bus as buses
from jobplane.contracts import subjects
from jobplane.contracts.jobs import JobStatus, StopState
from jobplane.contracts.workers import LeaseReply, LeaseRequest
from jobplane.worker import Context, Fatal
from jobplane.worker.handlers import Handlers
from tests.integration.worker.conftest import Start
from tests.integration.worker.real_jobs import RealJobs, real_jobs
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

Payload = dict[str, JsonValue]


@pytest.fixture
async def platform(bus: Bus, database: Database) -> AsyncIterator[RealJobs]:
    async with real_jobs(bus, database) as service:
        yield service


async def test_a_job_is_run_and_its_answer_kept(platform: RealJobs, handlers: Handlers, start: Start) -> None:
    @handlers.handler("add")
    async def add(ctx: Context, payload: Payload) -> object:
        return {"sum": int(str(payload["a"])) + 1, "tags": ctx.tags, "asset": ctx.asset}

    await start()
    job = await platform.add("add", {"a": 4}, tags=["x"], asset="0197")
    done = await platform.becomes(job, JobStatus.COMPLETED)
    assert done.result == {"sum": 5, "tags": ["x"], "asset": "0197"}
    assert (done.worker, done.run, done.attempt) == ("w-1", 1, 1)


async def test_a_failure_for_good_is_not_tried_again(platform: RealJobs, handlers: Handlers, start: Start) -> None:
    @handlers.handler("fail")
    def fail(_ctx: Context, _payload: Payload) -> None:
        raise Fatal("there is no such page")

    await start()
    failed = await platform.becomes(await platform.add("fail"), JobStatus.FAILED)
    assert failed.error is not None
    assert (failed.error.type, failed.error.message, failed.attempt) == ("Fatal", "there is no such page", 1)
    assert "in fail" in (failed.error.stack or "")


async def test_a_result_of_any_letters_is_kept_as_it_is(platform: RealJobs, handlers: Handlers, start: Start) -> None:
    text = "\N{GRINNING FACE}\x01\N{LATIN SMALL LETTER A WITH DIAERESIS}" * 20_000

    @handlers.handler("letters")
    async def letters(_ctx: Context, _payload: Payload) -> str:
        return text

    await start()
    done = await platform.becomes(await platform.add("letters"), JobStatus.COMPLETED)
    assert done.result == text


async def test_a_cancel_stops_the_run_and_is_confirmed(platform: RealJobs, handlers: Handlers, start: Start) -> None:
    entered = asyncio.Event()

    @handlers.handler("wait")
    async def wait(_ctx: Context, _payload: Payload) -> None:
        entered.set()
        await asyncio.Event().wait()

    await start()
    job = await platform.add("wait")
    await entered.wait()
    await platform.cancel(job)
    stopped = await platform.when(job, lambda seen: seen.stop is StopState.CONFIRMED)
    assert stopped.status is JobStatus.CANCELLED


async def test_a_run_over_its_time_is_stopped(platform: RealJobs, handlers: Handlers, start: Start) -> None:
    stopped = asyncio.Event()

    @handlers.handler("wait")
    async def wait(_ctx: Context, _payload: Payload) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await start(worker_lease_ms=1000)  # nothing is overdue before workers could be heard for a lease
    job = await platform.add("wait", timeout_ms=200, max_attempts=1)
    failed = await platform.becomes(job, JobStatus.FAILED)
    assert failed.error is not None
    assert failed.error.type == "timeout"
    async with asyncio.timeout(5):
        await stopped.wait()


async def test_what_a_worker_gives_back_the_next_one_runs(platform: RealJobs, handlers: Handlers, start: Start) -> None:
    go = asyncio.Event()

    @handlers.handler("wait")
    async def wait(_ctx: Context, _payload: Payload) -> str:
        await go.wait()
        return "done"

    first = await start()
    job = await platform.add("wait")
    await platform.becomes(job, JobStatus.RUNNING)
    first.set()
    await platform.becomes(job, JobStatus.PENDING)
    go.set()
    await start(instance="w-2")
    done = await platform.becomes(job, JobStatus.COMPLETED)
    assert (done.worker, done.run, done.attempt) == ("w-2", 2, 1)


async def test_a_run_outlives_an_outage_of_the_bus(
    platform: RealJobs, handlers: Handlers, start: Start, bus: Bus
) -> None:
    go = asyncio.Event()

    @handlers.handler("wait")
    async def wait(_ctx: Context, _payload: Payload) -> str:
        await go.wait()
        return "done"

    await start(worker_lease_ms=1000)
    job = await platform.add("wait")
    await platform.becomes(job, JobStatus.RUNNING)
    bus.kill()
    go.set()
    bus.start()
    done = await platform.becomes(job, JobStatus.COMPLETED)
    assert (done.result, done.run) == ("done", 1)


@pytest.mark.usefixtures("platform")
async def test_a_long_poll_is_ended_by_its_repetition_without_a_wait(bus: Bus) -> None:
    nc = await buses.connect(bus.url("worker"), user="worker", name="test worker")
    answers = await nc.subscribe(inbox := nc.new_inbox())
    for repeated, wait_ms in ((False, 30_000), (True, 0)):
        request = LeaseRequest(
            request_id="0" * 8, worker="w-1", kinds=["k"], wait_ms=wait_ms, repeated=repeated, lease_ms=1000
        )
        await nc.publish(subjects.lease("default"), request.model_dump_json().encode(), reply=inbox)
    for _ in range(2):
        answer = await answers.next_msg(timeout=10)
        assert LeaseReply.model_validate_json(answer.data) == LeaseReply()
    await buses.close(nc)


async def test_jobs_of_several_queues_are_all_run(platform: RealJobs, handlers: Handlers, start: Start) -> None:
    done: set[str] = set()

    @handlers.handler("note")
    async def note(ctx: Context, _payload: Payload) -> None:
        done.add(ctx.job)

    await start(worker_queues=("fast", "slow"), worker_concurrency=1)
    queues = ("fast", "slow") * 20
    await asyncio.gather(*(platform.add("note", queue=queue) for queue in queues))
    await eventually(lambda: len(done) == len(queues), timeout=10)
