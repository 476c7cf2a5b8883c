"""Workers: they lease, run, beat and report by a clock of their own; some are slow, forgetful, or late."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

from nats.errors import TimeoutError as NatsTimeoutError

from jobplane.chassis.ids import new_id
from jobplane.contracts.subjects import JOBS_BEAT, JOBS_DONE, lease, signal
from jobplane.contracts.workers import (
    Beat,
    BeatReply,
    DoneItem,
    DoneReply,
    DoneReport,
    LeasedJob,
    LeaseReply,
    LeaseRequest,
    ReportedError,
    RunningJob,
    Signal,
)
from tests.simulation.clients import KINDS, QUEUE
from tests.simulation.history import History, Reported
from tests.simulation.memory_bus import MemoryBus, MemoryNats, Message

Outcome = Literal["completed", "failed", "cancelled", "released"]

LEASE_MS: Final = 1000
_ANSWER_S: Final = 0.4
_OUTCOMES: Final[tuple[Outcome, ...]] = ("completed", "completed", "completed", "failed", "failed", "released")
LENGTHS_S: Final = ((0.0, 0.02, 0.1), (0.0, 0.2, 1.0, 3.0), (0.5, 2.0, 5.0, 8.0))
"""How long runs take, with quick jobs, ordinary ones, and those that outlast a lease."""


@dataclass(slots=True)
class _Run:
    """A job at work."""

    job: LeasedJob
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""
    forgotten: bool = False


@dataclass(slots=True)
class Worker:
    """One worker process; what it did not report dies with it."""

    name: str
    dice: Random
    bus: MemoryBus
    history: History
    tell: Callable[[str, str], None]
    capacity: int
    clock: float
    """How much slower the clock runs by which it beats."""
    lengths_s: Sequence[float]
    forgets: float = 0.0
    """How often it does not mention a run any more."""
    stubborn: bool = False
    """It goes on with a run that it lost or should stop, as a handler in a thread does, and reports it."""
    runs: dict[str, _Run] = field(default_factory=dict)
    nats: MemoryNats = field(init=False)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.nats = MemoryNats(self.bus, "worker")

    async def run(self) -> None:
        """Work until killed."""
        await self.nats.subscribe(signal(self.name), cb=self._hear)
        self.tasks.append(asyncio.get_running_loop().create_task(self._beat()))
        while True:
            while len(self.runs) >= self.capacity:
                self.changed.clear()
                await self.changed.wait()
            for job in await self._lease():
                if job.token not in self.runs:
                    self._start(job)

    async def _lease(self) -> list[LeasedJob]:
        wait_ms = self.dice.choice((0, 500, 3000))
        wanted = list(KINDS) if self.dice.random() < 0.7 else [self.dice.choice(KINDS)]
        free = self.capacity - len(self.runs)
        request = LeaseRequest(
            request_id=new_id(), worker=self.name, kinds=wanted, max=free, wait_ms=wait_ms, lease_ms=LEASE_MS
        )
        while True:
            try:
                answer = await self.nats.request(lease(QUEUE), _json(request), timeout=wait_ms / 1000 + _ANSWER_S)
                reply = LeaseReply.model_validate_json(answer.data)
            except NatsTimeoutError:
                request = request.model_copy(update={"repeated": True})
                continue
            if reply.error is None:
                break
            await asyncio.sleep(0.2)
        if not reply.jobs:
            await asyncio.sleep(0.2 * self.clock)
        return reply.jobs

    def _start(self, job: LeasedJob) -> None:
        self.history.leased.append((self.name, job))
        self.tell(self.name, f"runs {job.job[-4:]}, run {job.run}")
        run = self.runs[job.token] = _Run(job)
        self.tasks.append(asyncio.get_running_loop().create_task(self._work(run)))

    async def _work(self, run: _Run) -> None:
        try:
            async with asyncio.timeout(self.dice.choice(self.lengths_s)):
                await run.stop.wait()
        except TimeoutError:
            pass
        outcome: Outcome = "cancelled" if run.why == "cancelled" else self.dice.choice(_OUTCOMES)
        if run.why == "cancelled" and self.dice.random() < 0.2:
            outcome = self.dice.choice(_OUTCOMES)  # it had finished before it heard
        if run.why != "lost":
            await self._report(run, outcome)
        del self.runs[run.job.token]
        self.changed.set()

    async def _report(self, run: _Run, outcome: Outcome) -> None:
        error = ReportedError(type="Broken", message="no", retryable=self.dice.random() < 0.8)
        item = DoneItem(
            job=run.job.job,
            token=run.job.token,
            outcome=outcome,
            result={"n": 1} if outcome == "completed" else None,
            error=error if outcome == "failed" else None,
        )
        report = _json(DoneReport(worker=self.name, items=[item]))
        while True:
            try:
                answer = await self.nats.request(JOBS_DONE, report, timeout=_ANSWER_S)
            except NatsTimeoutError:
                continue
            reply = DoneReply.model_validate_json(answer.data)
            if reply.error is None:
                break
            await asyncio.sleep(0.2)
        status = reply.answers[0].status
        self.history.reported.append(Reported(self.name, run.job, outcome, status))
        self.tell(self.name, f"reports {run.job.job[-4:]}, run {run.job.run}: {outcome}, {status}")

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep((LEASE_MS / 3000 if self.runs else 1) * self.clock)
            if self.runs and self.bus.faults.happens(self.forgets):
                self.dice.choice(list(self.runs.values())).forgotten = True
            running = [
                RunningJob(job=run.job.job, token=run.job.token) for run in self.runs.values() if not run.forgotten
            ]
            try:
                answer = await self.nats.request(
                    JOBS_BEAT, _json(Beat(worker=self.name, running=running)), timeout=_ANSWER_S
                )
            except NatsTimeoutError:
                continue
            reply = BeatReply.model_validate_json(answer.data)
            for job_id, why in [*((job, "cancelled") for job in reply.cancel), *((job, "lost") for job in reply.lost)]:
                for run in self._runs_of(job_id, running):
                    self._stop(run, why)

    def _runs_of(self, job_id: str, mentioned: list[RunningJob]) -> Iterator[_Run]:
        for one in mentioned:
            if one.job == job_id and one.token in self.runs:
                yield self.runs[one.token]

    async def _hear(self, message: Message) -> None:
        told = Signal.model_validate_json(message.data)
        if told.token in self.runs:
            self._stop(self.runs[told.token], "cancelled" if told.cause == "cancelled" else "lost")

    def _stop(self, run: _Run, why: str) -> None:
        if not self.stubborn:
            run.why = run.why or why
            run.stop.set()


def _json(message: LeaseRequest | Beat | DoneReport) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()
