"""A worker process: wiring, and the order of its end."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from jobplane.chassis import bus
from jobplane.chassis.bus import Connection
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.loops import Loop
from jobplane.contracts import subjects
from jobplane.worker.beats import BEATS_PER_LEASE, Beats
from jobplane.worker.errors import BadHandler
from jobplane.worker.handlers import Handler
from jobplane.worker.leases import Leases
from jobplane.worker.link import Link
from jobplane.worker.reports import Reports
from jobplane.worker.runs import Runs
from jobplane.worker.settings import WorkerSettings
from jobplane.worker.slots import Slots
from jobplane.worker.threads import Threads

USER: Final = "worker"
END_S: Final = 0.7
"""How long the end may take beyond the drain: stopped runs clean up, their reports are sent, the connection closes."""
WITHDRAW_S: Final = 0.5
"""How long the end of long polls may take, beside the drain."""
_FLUSH_S: Final = 0.4
_TWO_ASKERS_FROM: Final = 2
log = structlog.get_logger(__name__)


class Worker:
    """Leases jobs and runs them with its handlers."""

    def __init__(self, nc: Connection, settings: WorkerSettings, handlers: Mapping[str, Handler]) -> None:
        if not handlers:
            raise BadHandler(f'no handler is declared in {", ".join(settings.worker_modules)}: use @handler("my.kind")')
        self._nc = nc
        self._settings = settings
        self._kinds = sorted(handlers)
        self._alone = len(settings.worker_queues) == 1
        self._link = Link(nc)
        self._threads = Threads(settings.worker_concurrency)
        slots = Slots(settings.worker_concurrency)
        self._reports = Reports(self._link, settings.instance)
        self._runs = Runs(settings.instance, dict(handlers), slots, self._reports, self._threads)
        self._beats = Beats(self._link, settings.instance, self._runs)
        self._beat_loop = Loop("beat", self._beats.run_once, settings.worker_lease_ms / 1000 / BEATS_PER_LEASE)
        self._askers = [self._asker(queue, slots) for queue in self._queues()]
        self._heartbeat = Heartbeat(
            nc,
            USER,
            settings.instance,
            ready=self._ready,
            in_flight=lambda: self._runs.in_flight,
            detail=lambda: {
                "queues": list(settings.worker_queues),
                "kinds": list(self._kinds),
                "concurrency": settings.worker_concurrency,
            },
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then drain: let runs finish for a while, give the rest back, report."""
        await self._link.open()
        await self._nc.subscribe(subjects.signal(self._settings.instance), cb=self._beats.on_signal)
        if not self._alone:
            for queue, asker in zip(self._queues(), self._askers, strict=True):
                await self._nc.subscribe(subjects.wake(queue), cb=asker.on_wake)
        self._nc.add_reconnect_listener(self._beat_now)
        self._beats.on_change = self._heartbeat.nudge
        self._beat_loop.start()
        self._heartbeat.start()
        reporting = asyncio.create_task(self._reports.run(), name="reports")
        asking = [asyncio.create_task(asker.run(), name="leases") for asker in self._askers]
        stopping = asyncio.create_task(stop.wait(), name="stop")
        log.info("worker.started", queues=self._settings.worker_queues, kinds=self._kinds)
        tasks = [stopping, reporting, *asking]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # only `stopping` ends without a fault
            await self._drain(asking)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._beat_loop.stop()
            await self._heartbeat.stop()
            self._threads.close()
            log.info("worker.ended", unreported=self._reports.backlog)

    async def _drain(self, asking: list[asyncio.Task[None]]) -> None:
        self._runs.close()
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        await asyncio.gather(self._runs.finish(self._settings.worker_drain_s), self._withdraw())
        await self._runs.give_back()
        await self._reports.flushed(_FLUSH_S)

    async def _withdraw(self) -> None:
        """Ask no more, before anything is given back: a long poll under way would fetch it again."""
        within_s = max(WITHDRAW_S, self._settings.worker_drain_s)
        await asyncio.gather(*(asker.withdraw(within_s) for asker in self._askers))
        self._runs.give_back_ahead()

    def _queues(self) -> list[str]:
        """One asker a queue; a queue that is alone has two, so that one answer is worked on while the next is made."""
        queues = list(self._settings.worker_queues)
        return queues * 2 if self._alone and self._settings.worker_concurrency >= _TWO_ASKERS_FROM else queues

    def _asker(self, queue: str, slots: Slots) -> Leases:
        return Leases(
            queue,
            worker=self._settings.instance,
            kinds=self._kinds,
            lease_ms=self._settings.worker_lease_ms,
            alone=self._alone,
            link=self._link,
            slots=slots,
            runs=self._runs,
        )

    async def _ready(self) -> bool:
        return self._beats.answered

    async def _beat_now(self) -> None:
        self._beat_loop.nudge()


async def work(settings: WorkerSettings, handlers: Mapping[str, Handler], stop: asyncio.Event) -> None:
    """Connect and work until `stop` is set.

    Raises:
        Unavailable: the bus does not answer at the start.
        BadHandler: there is no handler, or one cannot work.
    """
    nc = await bus.connect(settings.nats_url.get_secret_value(), user=USER, name=settings.instance)
    try:
        await Worker(nc, settings, handlers).run(stop)
    finally:
        await bus.close(nc)
