"""Lost answers, refusals, and a bus that goes away."""

import asyncio

import pytest

from jobplane.worker import Context, leases, reports
from jobplane.worker.handlers import Handlers
from tests.integration.worker.conftest import Start
from tests.integration.worker.fake_jobs import FakeJobs
from tests.support.servers import Bus
from tests.support.waiting import eventually

Payload = dict[str, object]


@pytest.fixture(autouse=True)
def echo(handlers: Handlers) -> None:
    @handlers.handler("echo")
    async def answer(_ctx: Context, payload: Payload) -> object:
        return payload.get("n")


async def test_an_unanswered_report_is_repeated_as_it_was(
    jobs: FakeJobs, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "_TIMEOUT_S", 0.1)
    jobs.swallow["done"] = 2
    await start()
    job = jobs.add("echo", {"n": 1})
    await eventually(lambda: len(jobs.reports) == 3)
    assert jobs.reports[0] == jobs.reports[1] == jobs.reports[2]
    assert jobs.outcomes[job].result == 1
    other = jobs.add("echo", {"n": 2})
    await jobs.outcome(other)
    assert [item.job for item in jobs.reports[-1].items] == [other]


async def test_a_run_is_held_until_its_report_is_answered(jobs: FakeJobs, start: Start) -> None:
    jobs.errors["done"] = "unavailable"
    await start(worker_lease_ms=1000)
    job = jobs.add("echo")
    await eventually(lambda: jobs.reports)
    beats = len(jobs.beats)
    await eventually(lambda: len(jobs.beats) > beats + 1)
    assert [run.job for run in jobs.beats[-1].running] == [job]
    del jobs.errors["done"]
    await jobs.outcome(job)
    await eventually(lambda: not jobs.beats[-1].running)


async def test_an_unanswered_lease_request_is_repeated_with_its_id(
    jobs: FakeJobs, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "WAIT_MS", 100)
    monkeypatch.setattr(leases, "_GRACE_S", 0.1)
    jobs.swallow["lease"] = 1
    await start(worker_concurrency=1)
    await eventually(lambda: jobs.lease_requests)
    job = jobs.add("echo", {"n": 1})
    assert (await jobs.outcome(job)).result == 1
    first, second, *_ = jobs.lease_requests
    assert second == first.model_copy(update={"repeated": True})


async def test_a_service_that_is_unavailable_is_asked_again(jobs: FakeJobs, start: Start) -> None:
    jobs.errors |= {"lease": "unavailable", "beat": "unavailable"}
    await start()
    job = jobs.add("echo", {"n": 1})
    await eventually(lambda: len(jobs.lease_requests) > 3 and len(jobs.beats) > 1)
    jobs.errors.clear()
    assert (await jobs.outcome(job)).result == 1


async def test_an_outcome_that_is_refused_fails_its_job_with_the_reason(jobs: FakeJobs, start: Start) -> None:
    await start()
    bad = jobs.job("echo", {"n": "strange"})
    jobs.refused[bad.job] = "a result may not be strange"
    jobs.add_leased(bad)
    good = jobs.add("echo", {"n": 1})
    done = await jobs.outcome(bad.job)
    assert done.error is not None
    assert (done.outcome, done.error.type, done.error.retryable) == ("failed", "ReportRefused", False)
    assert "a result may not be strange" in done.error.message
    assert (await jobs.outcome(good)).result == 1


async def test_a_report_refused_as_a_whole_is_told_in_parts(jobs: FakeJobs, start: Start) -> None:
    jobs.errors["done"] = "unavailable"
    await start()
    many = [jobs.add("echo", {"n": number}) for number in range(4)]
    await eventually(lambda: any(len(report.items) > 1 for report in jobs.reports) or len(jobs.leased) == 4)
    jobs.spoiled = many[2]
    del jobs.errors["done"]
    await eventually(lambda: all(job in jobs.outcomes for job in many if job != many[2]))
    failed = await jobs.outcome(many[2])
    assert failed.error is not None
    assert failed.error.type == "ReportRefused"


async def test_work_goes_on_while_the_bus_is_away(jobs: FakeJobs, handlers: Handlers, start: Start, bus: Bus) -> None:
    go = asyncio.Event()
    ended = asyncio.Event()

    @handlers.handler("wait")
    async def wait(_ctx: Context, _payload: Payload) -> str:
        await go.wait()
        ended.set()
        return "done"

    await start()
    job = jobs.add("wait")
    await eventually(lambda: job in jobs.leased and jobs.beats)
    bus.kill()
    go.set()
    await ended.wait()
    beats = len(jobs.beats)
    bus.start()
    assert (await jobs.outcome(job)).result == "done"
    await eventually(lambda: len(jobs.beats) > beats)
    later = jobs.add("echo", {"n": 2})
    assert (await jobs.outcome(later)).result == 2


async def test_a_heartbeat_tells_what_the_worker_does(jobs: FakeJobs, start: Start, bus: Bus) -> None:
    beats = await jobs.heartbeats(bus)
    await start(worker_queues=("default", "slow"))
    await eventually(lambda: any(beat.ready for beat in beats))
    beat = beats[-1]
    assert (beat.kind, beat.instance) == ("worker", "w-1")
    assert beat.detail == {"queues": ["default", "slow"], "kinds": ["echo"], "concurrency": 8}
