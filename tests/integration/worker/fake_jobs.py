"""The other side of the worker protocol, scripted: what the jobs service answers, without journal or database."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self

from nats.aio.msg import Msg
from pydantic import JsonValue

from jobplane.chassis import bus as chassis_bus
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts import subjects
from jobplane.contracts.fleet import Heartbeat
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import (
    Beat,
    BeatReply,
    DoneAnswer,
    DoneItem,
    DoneReply,
    DoneReport,
    LeasedJob,
    LeaseReply,
    LeaseRequest,
    Signal,
)
from tests.support.servers import Bus
from tests.support.waiting import eventually

TRACE = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"


class FakeJobs:
    """Jobs in memory, leased in order of `add`; everything a worker said is kept for the test to look at."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.lease_requests: list[LeaseRequest] = []
        self.reports: list[DoneReport] = []
        self.report_sizes: list[int] = []
        self.outcomes: dict[JobId, DoneItem] = {}
        """The accepted outcome of each job's latest run."""
        self.leased: dict[JobId, LeasedJob] = {}
        self.swallow: Counter[str] = Counter()
        """How many of the next answers get lost, by what was asked: ``lease``, ``beat``, ``done``."""
        self.errors: dict[str, str] = {}
        """Answer with this error for now, by what was asked."""
        self.refused: dict[JobId, str] = {}
        """Outcomes of these jobs are ``invalid``, with that detail; a failed one is taken."""
        self.spoiled: JobId | None = None
        """A report that tells of this job is refused as a whole, until the run is told to have failed."""
        self._jobs: defaultdict[str, deque[LeasedJob]] = defaultdict(deque)
        self._polls: dict[str, tuple[LeaseRequest, str, Msg]] = {}
        self._answered: dict[str, LeaseReply] = {}
        self._cancel: set[JobId] = set()
        self._lost: set[JobId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._nc: Connection | None = None
        self._listener: Connection | None = None

    @classmethod
    async def start(cls, bus: Bus) -> Self:
        """Answer on this bus, with the rights of the jobs service."""
        fake = cls()
        nc = fake._nc = await chassis_bus.connect(bus.url("jobs"), user="jobs", name="fake-jobs")
        await nc.subscribe("jobs.lease.*", cb=fake._on_lease)
        await nc.subscribe(subjects.JOBS_BEAT, cb=fake._on_beat)
        await nc.subscribe(subjects.JOBS_DONE, cb=fake._on_done)
        await nc.flush()
        return fake

    async def heartbeats(self, bus: Bus) -> list[Heartbeat]:
        """What workers tell of themselves from now on; the list grows."""
        heard: list[Heartbeat] = []

        async def hear(message: Msg) -> None:
            heard.append(Heartbeat.model_validate_json(message.data))

        self._listener = await chassis_bus.connect(bus.url("health-reader"), user="health-reader", name="fleet")
        await self._listener.subscribe(subjects.FLEET_ALL, cb=hear)
        await self._listener.flush()
        return heard

    async def stop(self) -> None:
        """Leave the bus."""
        if self._listener is not None:
            await chassis_bus.close(self._listener)
        if self._nc is not None:
            await chassis_bus.close(self._nc)

    def add(
        self, kind: str, payload: dict[str, JsonValue] | None = None, *, queue: str = "default", **more: Any
    ) -> JobId:
        """A job to lease."""
        return self.add_leased(self.job(kind, payload, queue=queue, **more))

    def add_leased(self, job: LeasedJob) -> JobId:
        """A job to lease, exactly so."""
        self._jobs[job.queue].append(job)
        self._serve(job.queue)
        self._later(self._wake(job.queue))
        return job.job

    def job(
        self, kind: str, payload: dict[str, JsonValue] | None = None, *, queue: str = "default", **more: Any
    ) -> LeasedJob:
        """What a worker would be given."""
        fields: dict[str, Any] = {
            "job": new_id(),
            "kind": kind,
            "queue": queue,
            "run": 1,
            "attempt": 1,
            "max_attempts": 5,
            "token": new_id().replace("-", ""),
            "payload": payload or {},
            "lease_ends_at": datetime.now(UTC) + timedelta(seconds=30),
            "traceparent": TRACE,
        }
        return LeasedJob(**(fields | more))

    async def outcome(self, job: JobId) -> DoneItem:
        """How that job's run ended, as soon as it is told."""
        await eventually(lambda: job in self.outcomes)
        return self.outcomes[job]

    async def cancel(
        self, job: JobId, *, signal: bool = True, cause: Literal["cancelled", "timeout", "lost"] = "cancelled"
    ) -> None:
        """A cancel of a running job; without a signal the worker hears it with its next beat."""
        self._cancel.add(job)
        if signal:
            await self.signal(job, cause)

    async def signal(self, job: JobId, cause: Literal["cancelled", "timeout", "lost"]) -> None:
        """Tell the worker at once."""
        assert self._nc is not None
        leased = self.leased[job]
        worker = self.lease_requests[-1].worker
        message = Signal(job=job, token=leased.token, cause=cause)
        await self._nc.publish(subjects.signal(worker), message.model_dump_json().encode())

    def lose(self, job: JobId) -> None:
        """The run is fenced: the next beat tells, and its outcome is not taken."""
        self._lost.add(job)

    async def _on_lease(self, message: Msg) -> None:
        request = LeaseRequest.model_validate_json(message.data)
        queue = message.subject.rpartition(".")[2]
        self.lease_requests.append(request)
        if "lease" in self.errors:
            await self._answer("lease", message, LeaseReply(error=self.errors["lease"]))
            return
        known = self._answered.get(request.request_id)
        if known is not None:
            await self._answer("lease", message, known)
            return
        self._polls[request.request_id] = (request, queue, message)
        self._serve(queue)
        if request.wait_ms == 0:
            self._end_poll(request.request_id)
        else:
            asyncio.get_running_loop().call_later(request.wait_ms / 1000, self._end_poll, request.request_id)

    def _serve(self, queue: str) -> None:
        jobs = self._jobs[queue]
        for request, wanted, _ in list(self._polls.values()):
            if wanted == queue and jobs:
                given = [jobs.popleft() for _ in range(min(request.max, len(jobs)))]
                self.leased |= {job.job: job for job in given}
                self._end_poll(request.request_id, given)

    def _end_poll(self, request_id: str, jobs: list[LeasedJob] | None = None) -> None:
        poll = self._polls.pop(request_id, None)
        if poll is not None:
            reply = self._answered[request_id] = LeaseReply(jobs=jobs or [])
            self._later(self._answer("lease", poll[2], reply))

    async def _wake(self, queue: str) -> None:
        if self._nc is not None and self._nc.is_connected:
            await self._nc.publish(subjects.wake(queue))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_beat(self, message: Msg) -> None:
        beat = Beat.model_validate_json(message.data)
        self.beats.append(beat)
        held = {run.job for run in beat.running}
        reply = BeatReply(
            extend_to=datetime.now(UTC) + timedelta(seconds=30),
            cancel=sorted(held & self._cancel),
            lost=sorted(held & self._lost),
            error=self.errors.get("beat"),
        )
        await self._answer("beat", message, reply)

    async def _on_done(self, message: Msg) -> None:
        report = DoneReport.model_validate_json(message.data)
        self.reports.append(report)
        self.report_sizes.append(len(message.data))
        if "done" in self.errors:
            await self._answer("done", message, DoneReply(error=self.errors["done"]))
            return
        if any(item.job == self.spoiled and item.outcome != "failed" for item in report.items):
            await self._answer("done", message, DoneReply(error="invalid", detail="an item cannot be read"))
            return
        await self._answer("done", message, DoneReply(answers=[self._take(item) for item in report.items]))

    def _take(self, item: DoneItem) -> DoneAnswer:
        leased = self.leased.get(item.job)
        if item.job in self._lost or leased is None or leased.token != item.token:
            return DoneAnswer(job=item.job, token=item.token, status="lease_lost")
        if item.job in self.refused and item.outcome != "failed":
            return DoneAnswer(job=item.job, token=item.token, status="invalid", detail=self.refused[item.job])
        self.outcomes.setdefault(item.job, item)
        return DoneAnswer(job=item.job, token=item.token, status="accepted")

    async def _answer(self, what: str, message: Msg, reply: LeaseReply | BeatReply | DoneReply) -> None:
        if self.swallow[what] > 0:
            self.swallow[what] -= 1
            return
        assert self._nc is not None
        if self._nc.is_connected:
            await self._nc.publish(message.reply, reply.model_dump_json().encode())
