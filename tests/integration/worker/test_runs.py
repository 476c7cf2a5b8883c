"""What becomes of a leased job."""

import asyncio
import threading

from pydantic import BaseModel
from typing_extensions import TypedDict

from jobplane.chassis import tracing
from jobplane.worker import Context, Fatal
from jobplane.worker.handlers import Handlers
from tests.integration.worker.conftest import Start
from tests.integration.worker.fake_jobs import TRACE, FakeJobs
from tests.support.waiting import eventually


class Size(BaseModel):
    width: int
    height: int = 10


class Point(TypedDict):
    x: int


async def test_an_async_handler_gets_its_payload_and_answers(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    @handlers.handler("size.double")
    async def double(ctx: Context, payload: Size) -> Size:
        assert ctx.attempt == 1
        return Size(width=2 * payload.width, height=2 * payload.height)

    await start()
    job = jobs.add("size.double", {"width": 4})
    done = await jobs.outcome(job)
    assert done.outcome == "completed"
    assert done.result == {"width": 8, "height": 20}


async def test_a_sync_handler_runs_in_a_thread(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    @handlers.handler("where")
    def where(ctx: Context, payload: Point) -> dict[str, object]:
        return {"thread": threading.current_thread().name, "x": payload["x"], "tags": ctx.tags, "asset": ctx.asset}

    await start()
    job = jobs.add("where", {"x": 3}, tags=["a"], asset="0197")
    done = await jobs.outcome(job)
    assert isinstance(done.result, dict)
    assert str(done.result["thread"]).startswith("handler-")
    assert done.result == {"thread": done.result["thread"], "x": 3, "tags": ["a"], "asset": "0197"}


async def test_blocking_handlers_run_side_by_side(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    meeting = threading.Barrier(4, timeout=5)

    @handlers.handler("meet")
    def meet(_ctx: Context, _payload: dict[str, object]) -> int:
        return meeting.wait()

    await start(worker_concurrency=4)
    met = [jobs.add("meet") for _ in range(4)]
    await eventually(lambda: all(job in jobs.outcomes for job in met))
    assert sorted(str(jobs.outcomes[job].result) for job in met) == ["0", "1", "2", "3"]


async def test_a_run_continues_the_trace_of_its_job(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    @handlers.handler("trace.async")
    async def in_loop(_ctx: Context, _payload: dict[str, object]) -> str | None:
        return tracing.current_trace_id()

    @handlers.handler("trace.sync")
    def in_thread(_ctx: Context, _payload: dict[str, object]) -> str | None:
        return tracing.current_trace_id()

    await start()
    both = [jobs.add("trace.async"), jobs.add("trace.sync")]
    await eventually(lambda: len(jobs.outcomes) == 2)
    assert {jobs.outcomes[job].result for job in both} == {TRACE.split("-")[1]}


async def test_a_payload_of_the_wrong_shape_fails_for_good(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    @handlers.handler("size.double")
    async def double(_ctx: Context, payload: Size) -> int:
        return payload.width

    await start()
    job = jobs.add("size.double", {"width": "secret", "height": []})
    done = await jobs.outcome(job)
    assert done.outcome == "failed"
    assert done.error is not None
    assert (done.error.type, done.error.retryable) == ("InvalidPayload", False)
    assert "payload.width: Input should be a valid integer" in done.error.message
    assert "payload.height" in done.error.message
    assert "secret" not in done.error.message


async def test_a_handler_that_raises_fails_its_job_and_no_other(
    jobs: FakeJobs, handlers: Handlers, start: Start
) -> None:
    class NoSuchPage(Fatal):
        pass

    @handlers.handler("raise")
    async def fail(_ctx: Context, payload: dict[str, object]) -> None:
        match payload["how"]:
            case "error":
                raise ValueError("no \x00 \ud800 good")
            case "fatal":
                raise NoSuchPage("page 7 is gone")
            case "exit":
                raise SystemExit(3)
            case "cancelled":
                raise asyncio.CancelledError

    @handlers.handler("raise.sync")
    def stop_iteration(_ctx: Context, _payload: dict[str, object]) -> None:
        raise StopIteration(1)

    await start()
    ways = {how: jobs.add("raise", {"how": how}) for how in ("error", "fatal", "exit", "cancelled", "none")}
    ways["sync"] = jobs.add("raise.sync")
    await eventually(lambda: len(jobs.outcomes) == len(ways))
    errors = {how: jobs.outcomes[job].error for how, job in ways.items()}
    assert {how: error and error.type for how, error in errors.items()} == {
        "error": "ValueError",
        "fatal": "test_a_handler_that_raises_fails_its_job_and_no_other.NoSuchPage",
        "exit": "SystemExit",
        "cancelled": "CancelledError",
        "none": None,
        "sync": "RuntimeError",
    }
    assert errors["error"] is not None
    assert errors["fatal"] is not None
    assert errors["error"].message == "no \ufffd ? good"
    assert (errors["error"].retryable, errors["fatal"].retryable) == (True, False)
    stack = errors["error"].stack or ""
    assert "in fail" in stack
    assert "jobplane/worker" not in stack


async def test_an_answer_that_is_not_json_or_too_large_fails_for_good(
    jobs: FakeJobs, handlers: Handlers, start: Start
) -> None:
    @handlers.handler("answer")
    async def answer(_ctx: Context, payload: dict[str, object]) -> object:
        return object() if payload["what"] == "object" else "ä" * 131_072

    await start()
    strange, large = jobs.add("answer", {"what": "object"}), jobs.add("answer", {"what": "text"})
    await eventually(lambda: len(jobs.outcomes) == 2)
    errors = [jobs.outcomes[job].error for job in (strange, large)]
    assert [error and (error.type, error.retryable) for error in errors] == [
        ("InvalidResult", False),
        ("ResultTooLarge", False),
    ]
    assert errors[1] is not None
    assert "262,146 bytes" in errors[1].message


async def test_never_more_run_than_there_are_slots(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    running: set[str] = set()
    most = 0
    go = asyncio.Event()

    @handlers.handler("count")
    async def count(ctx: Context, _payload: dict[str, object]) -> None:
        nonlocal most
        running.add(ctx.job)
        most = max(most, len(running))
        await go.wait()
        running.discard(ctx.job)

    await start(worker_concurrency=3)
    for _ in range(10):
        jobs.add("count")
    await eventually(lambda: len(running) == 3)
    assert len(jobs.leased) == 3
    go.set()
    await eventually(lambda: len(jobs.outcomes) == 10)
    assert most == 3


async def test_one_worker_serves_several_queues(jobs: FakeJobs, handlers: Handlers, start: Start) -> None:
    @handlers.handler("echo")
    async def echo(_ctx: Context, payload: dict[str, object]) -> object:
        return payload["n"]

    await start(worker_queues=("fast", "slow", "bulk"), worker_concurrency=2)
    for number in range(30):
        jobs.add("echo", {"n": number}, queue=("fast", "slow", "bulk")[number % 3])
    await eventually(lambda: len(jobs.outcomes) == 30)
    assert sorted(int(str(done.result)) for done in jobs.outcomes.values()) == list(range(30))
    assert all(request.kinds == ["echo"] for request in jobs.lease_requests)


async def test_many_large_answers_are_told_in_messages_that_fit(
    jobs: FakeJobs, handlers: Handlers, start: Start
) -> None:
    @handlers.handler("large")
    async def large(_ctx: Context, _payload: dict[str, object]) -> str:
        return "x" * 200_000

    await start()
    jobs.errors["done"] = "unavailable"
    for _ in range(8):
        jobs.add("large")
    await eventually(lambda: len(jobs.leased) == 8 and jobs.reports)
    del jobs.errors["done"]
    await eventually(lambda: len(jobs.outcomes) == 8)
    assert max(jobs.report_sizes) <= 512 * 1024
    assert max(len(report.items) for report in jobs.reports) == 2
