"""The jobs this worker holds: started when there is a slot, stopped when told, kept until their outcome is accepted."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import structlog

from jobplane.chassis import tracing
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import LeasedJob, RunningJob
from jobplane.worker import outcomes
from jobplane.worker.context import Context
from jobplane.worker.errors import Cancelled
from jobplane.worker.handlers import Handler
from jobplane.worker.reports import Reports
from jobplane.worker.slots import Slots
from jobplane.worker.stops import Stop
from jobplane.worker.threads import Threads

STALLED_S: Final = 0.25
"""A job leased ahead that waits longer for its slot is given back for somebody who has one."""
STOPPING_S: Final = 0.2
"""How long runs may take to clean up after they were stopped because the worker ends."""
log = structlog.get_logger(__name__)


class Run:
    """One leased job, from its lease until its outcome is accepted."""

    __slots__ = ("begun", "context", "handler", "heard_at", "job", "leased_s", "reported", "stop", "task")

    def __init__(self, job: LeasedJob, handler: Handler, context: Context) -> None:
        self.job = job
        self.handler = handler
        self.context = context
        self.leased_s = time.monotonic()
        self.begun = False
        self.reported = False
        self.stop: Stop | None = None
        self.heard_at: datetime | None = None
        """When it was told that its job is cancelled."""
        self.task: asyncio.Task[None] | None = None

    def told_to_stop(self, cause: Stop) -> None:
        """Raise the flag; cancel an async handler. A thread cannot be stopped: its handler must look at the flag."""
        self.heard_at = datetime.now(UTC) if cause is Stop.CANCELLED else None
        self.stop = self.context._stop = cause  # noqa: SLF001 - the other half of the context
        if self.begun and self.task is not None and (self.handler.is_async or cause is Stop.RELEASED):
            self.task.cancel()


class Runs:
    """What is leased, running, and not yet reported."""

    def __init__(
        self, worker: str, handlers: Mapping[str, Handler], slots: Slots, reports: Reports, threads: Threads
    ) -> None:
        self._worker = worker
        self._handlers = handlers
        self._slots = slots
        self._reports = reports
        self._threads = threads
        self._held: dict[JobId, Run] = {}
        self._ahead: deque[Run] = deque()
        self._active: set[Run] = set()
        self._stalled: asyncio.TimerHandle | None = None
        self._closing = False
        reports.on_settled = self.accepted

    @property
    def in_flight(self) -> int:
        """How many jobs run now or wait for a slot here."""
        return len(self._active) + len(self._ahead)

    def mentioned(self) -> dict[JobId, Run]:
        """Everything a beat must mention, also what ended but is not reported yet."""
        return dict(self._held)

    def take(self, jobs: Iterable[LeasedJob]) -> None:
        """Start leased jobs."""
        for job in jobs:
            handler = self._handlers.get(job.kind)
            if handler is None or self._closing:
                self._tell(job, outcomes.released(job))
                continue
            run = Run(job, handler, Context(job, self._threads))
            earlier = self._held.get(job.job)
            if earlier is not None:
                if earlier.job.token == job.token:
                    continue  # told twice
                self._stop(earlier, Stop.LOST)  # the same job leased anew: our former lease of it is over
            self._held[job.job] = run
            if self._slots.running < self._slots.concurrency:
                self._start(run)
            else:
                self._put_ahead(run)

    def stop(self, job: JobId, cause: Stop, *, token: str) -> None:
        """Stop that run, if it is still the one held."""
        run = self._held.get(job)
        if run is not None and run.job.token == token:
            self._stop(run, cause)

    def accepted(self, job: JobId, token: str) -> None:
        """The outcome of that run was answered for good: it is no longer held."""
        self._slots.reported()
        self._forget(job, token)

    def close(self) -> None:
        """Start no more: whatever comes is given back."""
        self._closing = True

    def give_back_ahead(self) -> None:
        """Give back what waits for a slot here."""
        self._give_back_ahead(len(self._ahead))

    async def finish(self, within_s: float) -> None:
        """Let runs finish for that long."""
        if self._active:
            await asyncio.wait([run.task for run in self._active if run.task], timeout=within_s)

    async def give_back(self) -> None:
        """Stop what still runs and give it back."""
        self.give_back_ahead()
        rest = list(self._active)
        for run in rest:
            self._stop(run, Stop.RELEASED)
        if rest:
            log.info("worker.released", runs=len(rest))
            await asyncio.wait([run.task for run in rest if run.task], timeout=STOPPING_S)
        for run in list(self._active):  # threads, and handlers that ignore a cancel: they end with the process
            self._report(run, _after_error(run, Cancelled("the worker ends")))

    def _stop(self, run: Run, cause: Stop) -> None:
        if run.stop is not None or run.reported:
            return
        log.info("worker.run_stopped", job_id=run.job.job, run=run.job.run, cause=str(cause))
        run.told_to_stop(cause)
        if cause in (Stop.LOST, Stop.TIMEOUT):
            self._forget(run.job.job, run.job.token)  # nobody waits for this outcome
        if run in self._ahead:
            self._ahead.remove(run)
            self._slots.waiting -= 1
            self._report(run, outcomes.cancelled(run.job) if cause is Stop.CANCELLED else None)

    def _put_ahead(self, run: Run) -> None:
        self._ahead.append(run)
        self._slots.waiting += 1
        if self._stalled is None:
            self._stalled = asyncio.get_running_loop().call_later(STALLED_S, self._check_stalled)

    def _check_stalled(self) -> None:
        self._stalled = None
        late = time.monotonic() - STALLED_S
        stalled = sum(1 for run in self._ahead if run.leased_s <= late)
        if stalled:
            self._slots.stalled()
            self._give_back_ahead(stalled)
        if self._ahead:
            wait_s = max(0.0, self._ahead[0].leased_s - late)
            self._stalled = asyncio.get_running_loop().call_later(wait_s, self._check_stalled)

    def _give_back_ahead(self, many: int) -> None:
        for _ in range(many):
            run = self._ahead.popleft()
            self._slots.waiting -= 1
            self._report(run, outcomes.released(run.job))

    def _start(self, run: Run) -> None:
        self._slots.running += 1
        self._active.add(run)
        run.task = asyncio.create_task(self._live(run))

    async def _live(self, run: Run) -> None:
        run.begun = True
        started = time.perf_counter()
        outcome = await _outcome(run, self._worker)
        if run.stop in (Stop.CANCELLED, Stop.TIMEOUT):
            await run.context._calls_ended()  # noqa: SLF001 - as above; what its threads still do is part of the run
        self._active.discard(run)
        self._report(run, outcome)
        if self._ahead:
            self._slots.waiting -= 1
            self._start(self._ahead.popleft())
        self._slots.ended(time.perf_counter() - started)

    def _report(self, run: Run, outcome: bytes | None) -> None:
        if run.reported:
            return
        run.reported = True
        if outcome is None:
            self._forget(run.job.job, run.job.token)
        else:
            self._tell(run.job, outcomes.heard(outcome, run.heard_at) if run.heard_at else outcome)

    def _tell(self, job: LeasedJob, outcome: bytes) -> None:
        self._slots.reporting()
        self._reports.add(job, outcome)

    def _forget(self, job: JobId, token: str) -> None:
        run = self._held.get(job)
        if run is not None and run.job.token == token:
            del self._held[job]


async def _outcome(run: Run, worker: str) -> bytes | None:
    """Run the handler; whatever happens in it, an outcome to report comes back, or none where nobody waits for one."""
    job = run.job
    try:
        with tracing.span(
            f"run {job.kind}",
            traceparent=job.traceparent,
            kind=tracing.Kind.CONSUMER,
            job_id=job.job,
            job_kind=job.kind,
            job_queue=job.queue,
            job_run=job.run,
            job_attempt=job.attempt,
            worker=worker,
        ):
            text = await _answer(run)
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises, even SystemExit, is its job's failure and never the worker's
        return _after_error(run, error)
    return None if run.stop in (Stop.LOST, Stop.TIMEOUT) else outcomes.completed(job, text)


async def _answer(run: Run) -> bytes:
    run.context.raise_if_cancelled()
    handler = run.handler
    payload = handler.read(run.job.payload)
    if handler.is_async:
        value = await handler.function(run.context, payload)
    else:
        value = await run.context.in_thread(handler.function, run.context, payload)
    return outcomes.encode_result(value)


def _after_error(run: Run, error: BaseException) -> bytes | None:
    match run.stop:
        case Stop.CANCELLED:
            return outcomes.cancelled(run.job)
        case Stop.RELEASED:
            return outcomes.released(run.job)
        case Stop.LOST | Stop.TIMEOUT:
            return None
        case None:
            job = run.job
            log.warning(
                "worker.run_failed",
                job_id=job.job,
                kind=job.kind,
                run=job.run,
                attempt=job.attempt,
                error=type(error).__qualname__,
            )
            return outcomes.failed(job, error)


def as_running(runs: Iterable[Run]) -> list[RunningJob]:
    """How a beat mentions runs."""
    return [
        RunningJob(job=run.job.job, token=run.job.token, progress=run.context._progress)  # noqa: SLF001 - as above
        for run in runs
    ]
