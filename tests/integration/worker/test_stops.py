"""Runs that must stop: cancelled, fenced, or held by a worker that ends."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from jobplane.contracts.ids import JobId
from jobplane.worker import Context, slots
from jobplane.worker.handlers import Handlers
from tests.integration.worker.conftest import Start
from tests.integration.worker.fake_jobs import FakeJobs
from tests.support.waiting import eventually

Payload = dict[str, object]


class Stage:
    """What a handler of these tests does and waits for."""

    def __init__(self, handlers: Handlers) -> None:
        self.entered: list[JobId] = []
        self.left: list[JobId] = []
        self.go = asyncio.Event()
        self.go_thread = threading.Event()

        @handlers.handler("wait")
        async def wait(ctx: Context, _payload: Payload) -> str:
            self.entered.append(ctx.job)
            try:
                await self.go.wait()
            finally:
                self.left.append(ctx.job)
            return "done"

        @handlers.handler("stubborn")
        async def stubborn(ctx: Context, _payload: Payload) -> str:
            self.entered.append(ctx.job)
            while not self.go.is_set():
                try:
                    await self.go.wait()
                except asyncio.CancelledError:
                    self.left.append(ctx.job)
            return "done anyway"

        @handlers.handler("thread")
        def thread(ctx: Context, payload: Payload) -> str:
            self.entered.append(ctx.job)
            while not self.go_thread.wait(0.005):
                if not payload.get("deaf"):
                    ctx.raise_if_cancelled()
            return "done"

        @handlers.handler("outside")
        async def outside(ctx: Context, _payload: Payload) -> None:
            try:
                await ctx.in_thread(self.work, ctx.job)
            finally:
                self.left.append(ctx.job)

    def work(self, job: JobId) -> None:
        """Looks at nothing until it may go on."""
        self.entered.append(job)
        self.go_thread.wait()


@pytest.fixture
def stage(handlers: Handlers) -> Stage:
    return Stage(handlers)


@pytest.mark.parametrize("kind", ["wait", "thread"])
async def test_a_cancelled_run_is_stopped_by_signal(jobs: FakeJobs, stage: Stage, start: Start, kind: str) -> None:
    await start()
    job = jobs.add(kind)
    await eventually(lambda: job in stage.entered)
    asked = datetime.now(UTC)
    await jobs.cancel(job)
    done = await jobs.outcome(job)
    assert done.outcome == "cancelled"
    assert done.stop_heard_at is not None
    assert asked <= done.stop_heard_at <= datetime.now(UTC)


@pytest.mark.parametrize("kind", ["wait", "thread"])
async def test_a_cancel_without_signal_arrives_with_the_next_beat(
    jobs: FakeJobs, stage: Stage, start: Start, kind: str
) -> None:
    await start(worker_lease_ms=1000)
    job = jobs.add(kind)
    await eventually(lambda: job in stage.entered)
    await jobs.cancel(job, signal=False)
    assert (await jobs.outcome(job)).outcome == "cancelled"


async def test_a_run_that_ends_in_spite_of_its_cancel_tells_so(jobs: FakeJobs, stage: Stage, start: Start) -> None:
    await start()
    job = jobs.add("stubborn")
    await eventually(lambda: job in stage.entered)
    await jobs.cancel(job)
    await eventually(lambda: job in stage.left)
    stage.go.set()
    done = await jobs.outcome(job)
    assert (done.outcome, done.result) == ("completed", "done anyway")
    assert done.stop_heard_at is not None


async def test_a_cancelled_run_holds_its_slot_and_its_report_until_its_thread_has_ended(
    jobs: FakeJobs, stage: Stage, start: Start
) -> None:
    await start(worker_concurrency=1, worker_lease_ms=1000)
    job = jobs.add("outside")
    await eventually(lambda: job in stage.entered)
    await jobs.cancel(job)
    await eventually(lambda: job in stage.left)
    other = jobs.add("wait")
    beats = len(jobs.beats)
    await eventually(lambda: len(jobs.beats) > beats + 1)
    assert [run.job for run in jobs.beats[-1].running] == [job]
    assert jobs.reports == []
    assert other not in stage.entered
    stage.go_thread.set()
    assert (await jobs.outcome(job)).outcome == "cancelled"
    await eventually(lambda: other in stage.entered)


async def test_a_lost_run_does_not_wait_for_its_thread(jobs: FakeJobs, stage: Stage, start: Start) -> None:
    await start(worker_concurrency=1, worker_lease_ms=1000)
    job = jobs.add("outside")
    await eventually(lambda: job in stage.entered)
    jobs.lose(job)
    other = jobs.add("wait")
    await eventually(lambda: other in stage.entered)
    assert not stage.go_thread.is_set()
    stage.go_thread.set()


async def test_a_lost_run_is_stopped_and_not_reported(jobs: FakeJobs, stage: Stage, start: Start) -> None:
    await start(worker_lease_ms=1000)
    job = jobs.add("wait")
    await eventually(lambda: job in stage.entered)
    jobs.lose(job)
    await eventually(lambda: job in stage.left)
    beats = len(jobs.beats)
    await eventually(lambda: len(jobs.beats) > beats + 1)
    assert jobs.beats[-1].running == []
    assert jobs.reports == []


async def test_a_run_over_its_time_is_stopped_and_not_reported(jobs: FakeJobs, stage: Stage, start: Start) -> None:
    await start()
    job = jobs.add("wait")
    await eventually(lambda: job in stage.entered)
    await jobs.signal(job, "timeout")
    await eventually(lambda: job in stage.left)
    other = jobs.add("wait")
    stage.go.set()
    await jobs.outcome(other)
    assert [item.job for report in jobs.reports for item in report.items] == [other]


async def test_a_signal_for_an_earlier_run_stops_nothing(jobs: FakeJobs, stage: Stage, start: Start) -> None:
    await start()
    job = jobs.add("wait")
    await eventually(lambda: job in stage.entered)
    current = jobs.leased[job]
    jobs.leased[job] = current.model_copy(update={"token": "0" * 32})
    await jobs.signal(job, "cancelled")
    jobs.leased[job] = current
    other = jobs.add("wait")
    await eventually(lambda: other in stage.entered)
    assert stage.left == []
    stage.go.set()
    assert (await jobs.outcome(job)).outcome == "completed"


async def test_the_same_job_leased_anew_ends_the_run_held_before(jobs: FakeJobs, stage: Stage, start: Start) -> None:
    await start()
    first = jobs.job("wait")
    jobs.add_leased(first)
    await eventually(lambda: stage.entered == [first.job])
    jobs.add_leased(first.model_copy(update={"token": "f" * 32, "run": 2}))
    await eventually(lambda: stage.entered == [first.job, first.job])
    await eventually(lambda: stage.left == [first.job])
    stage.go.set()
    assert (await jobs.outcome(first.job)).token == "f" * 32


async def test_beats_tell_what_runs_and_how_far_it_is(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    go = asyncio.Event()

    @handlers.handler("far")
    async def far(ctx: Context, _payload: Payload) -> None:
        ctx.progress(0.25)
        await go.wait()

    await start(worker_lease_ms=1000)
    await eventually(lambda: jobs.beats)
    assert jobs.beats[0].running == []
    job = jobs.add("far")
    await eventually(lambda: jobs.beats[-1].running)
    run = jobs.beats[-1].running[0]
    assert (run.job, run.token, run.progress) == (job, jobs.leased[job].token, 0.25)
    go.set()
    await jobs.outcome(job)
    await eventually(lambda: not jobs.beats[-1].running)


async def test_a_worker_that_ends_lets_runs_finish_and_gives_back_the_rest(
    jobs: FakeJobs, stage: Stage, start: Start
) -> None:
    stop = await start(worker_drain_s=0.5, worker_concurrency=4)
    held = {kind: jobs.add(kind) for kind in ("wait", "stubborn")}
    held["deaf"] = jobs.add("thread", {"deaf": True})
    held["thread"] = jobs.add("thread")
    await eventually(lambda: len(stage.entered) == 4)
    stop.set()
    await eventually(lambda: len(jobs.outcomes) == 4)
    assert {kind: jobs.outcomes[job].outcome for kind, job in held.items()} == dict.fromkeys(held, "released")
    stage.go.set()
    stage.go_thread.set()


async def test_a_run_that_finishes_while_its_worker_ends_is_reported(
    jobs: FakeJobs, stage: Stage, start: Start
) -> None:
    stop = await start(worker_drain_s=5)
    job = jobs.add("wait")
    await eventually(lambda: job in stage.entered)
    stop.set()
    asking = len(jobs.lease_requests)
    await eventually(lambda: len(jobs.lease_requests) > asking)  # the long poll is withdrawn
    assert jobs.lease_requests[-1].wait_ms == 0
    stage.go.set()
    assert (await jobs.outcome(job)).outcome == "completed"


async def test_a_job_that_comes_after_the_end_began_is_given_back(jobs: FakeJobs, stage: Stage, start: Start) -> None:
    stop = await start(worker_concurrency=1, worker_drain_s=1)
    await eventually(lambda: jobs.lease_requests)
    jobs.swallow["lease"] = 1  # the answer gets lost; the withdrawal asks for it again
    job = jobs.add("wait")
    await eventually(lambda: job in jobs.leased)
    stop.set()
    assert (await jobs.outcome(job)).outcome == "released"
    assert stage.entered == []


async def test_jobs_leased_ahead_are_given_back_when_no_slot_gets_free(
    jobs: FakeJobs, stage: Stage, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_UNKNOWN_S", 0.0)  # so that it leases ahead though no short run was seen
    await start(worker_concurrency=2)
    many = [jobs.add("wait") for _ in range(10)]
    await eventually(lambda: len(jobs.outcomes) == 8)
    assert {done.outcome for done in jobs.outcomes.values()} == {"released"}
    assert len(stage.entered) == 2
    stage.go.set()
    await eventually(lambda: all(job in jobs.outcomes for job in many))
    assert [jobs.outcomes[job].outcome for job in stage.entered] == ["completed", "completed"]
