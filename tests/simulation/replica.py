"""One jobs service: the product's own parts, wired as `jobplane.jobs.wiring` does, on store and bus in memory."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, cast

import psycopg
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.bus import Connection
from jobplane.chassis.intake import Intake
from jobplane.chassis.loops import Loop
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.subjects import dead_letter
from jobplane.contracts.topology import JOBS_INTAKE
from jobplane.jobs import rescuer, scheduler
from jobplane.jobs.beats import Beats
from jobplane.jobs.claims import Claims
from jobplane.jobs.effects import Effects, waiting
from jobplane.jobs.handlers import CommandHandler
from jobplane.jobs.leases import Leases
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.reports import Reports
from jobplane.jobs.store import Store
from jobplane.jobs.subscribers import WorkerProtocol
from jobplane.jobs.wishes import Directive, Settled
from tests.simulation.memory_bus import MemoryBus, MemoryNats
from tests.simulation.memory_database import MemoryDatabase
from tests.simulation.memory_pool import MemoryPool, MemoryReadModel

_SUM_UP_EVERY_S: Final = 5.0
_BEAT_SERVICE_LEASE_MS: Final = 6000


class Replica:
    """A running jobs service; made inside the process that it is."""

    def __init__(
        self, name: str, database: MemoryDatabase, store: Store, bus: MemoryBus, settled: Callable[[str, Settled], None]
    ) -> None:
        self._name = name
        self._settled = settled
        pool = cast("AsyncConnectionPool", MemoryPool(database))
        answers = cast("Connection", MemoryNats(bus, "jobs"))
        commands = cast("Connection", MemoryNats(bus, "jobs-intake"))
        self._database = database
        self._ledger = ledger = Ledger(store, self._after_commit)
        leases = Leases(Claims(ledger, pool))
        self._effects = Effects(answers, name, leases.wake)
        self._protocol = WorkerProtocol(answers, leases, Beats(ledger, pool), Reports(ledger), self._effects)
        handler = CommandHandler(ledger, leases, cast("ReadModel", MemoryReadModel(database)), commands, _no_directive)
        self._intake = Intake(commands, JOBS_INTAKE, handler, dead_letters=dead_letter("jobs", "command"))
        self._scheduler = scheduler.Scheduler(pool, self._effects.wake, self._schedule_again)
        self._scheduling = Loop("scheduler", self._scheduler.run_once, scheduler.EVERY_S)
        served = rescuer.BeatService(pool, _the_bus_answers, lease_ms=_BEAT_SERVICE_LEASE_MS)
        self._loops = [
            self._scheduling,
            Loop("beat service", served.run_once, served.every_s),
            Loop("rescuer", rescuer.Rescuer(ledger, pool).run_once, rescuer.EVERY_S),
            Loop("refusals", lambda: ledger.sum_up_refusals(database.now()), _SUM_UP_EVERY_S),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop, then finish what is under way."""
        await self._protocol.start()
        for loop in self._loops:
            loop.start()
        intake = asyncio.create_task(self._intake.run(stop))
        told = asyncio.create_task(stop.wait())
        await asyncio.wait({intake, told}, return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            intake.result()
        for loop in self._loops:
            await loop.stop()
        self._intake.wake()
        await self._protocol.stop()
        await asyncio.wait({intake}, timeout=1)
        await self._sum_up_the_rest()

    async def _sum_up_the_rest(self) -> None:
        with contextlib.suppress(Unavailable, psycopg.Error, TimeoutError):
            async with asyncio.timeout(1):
                await self._ledger.sum_up_refusals(self._database.now(), closing=True)

    def _after_commit(self, settled: Sequence[Settled]) -> None:
        self._effects.after_commit(settled)
        waits = [wait for wait in map(waiting, settled) if wait is not None]
        if waits:
            self._scheduler.expect(min(waits))
        for one in settled:
            self._settled(self._name, one)

    def _schedule_again(self, wait_s: float) -> None:
        asyncio.get_running_loop().call_later(wait_s, self._scheduling.nudge)


async def _the_bus_answers() -> bool:
    return True


async def _no_directive(directive: Directive) -> Stored:
    """They are one transaction each, and not simulated."""
    raise AssertionError(directive)
