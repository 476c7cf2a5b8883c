"""Fills a platform's journal with whole lives of jobs, through the ledger as the jobs service does it."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Self

from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue
from pydantic_core import to_json

from jobplane.chassis import clock, database
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.contracts.actors import system
from jobplane.contracts.commands import AnyJobCommand, CancelJob, CreateJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import DoneItem, DoneReport, LeasedJob, LeaseRequest, ReportedError
from jobplane.jobs import bodies
from jobplane.jobs.claims import MAX_CLAIM, Claims
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.reports import Reports
from jobplane.jobs.wishes import Cause, Delivered, Wish
from tests.bench.scale import mix
from tests.bench.scale.mix import End, Planned

BATCH: Final = 512
_LANES: Final = 2
_LEASE_MS: Final = 3_600_000
_ACTOR: Final = system("populate")
_WORKER: Final = "scale-worker"
_HOLDER: Final = "scale-holder"
_AT_ONCE: Final = 5
"""Requests of one claim: an answer holds some 120 jobs, a claim 512."""
_ERRORS: Final = (
    ("TimeoutError", "the other side did not answer"),
    ("ValueError", "no such customer"),
    ("ConnectionResetError", "connection reset by peer"),
)
_STACK: Final = 'File "handlers.py", line 71, in run\n    await client.send(message)\n' * 12
_COUNT: Final = "SELECT coalesce(sum(n), 0)::bigint FROM job_count"
_PARKED: Final = "SELECT coalesce(sum(n), 0)::bigint FROM job_count WHERE queue = %s AND status = 'PENDING'"
_LEFT_RUNNING: Final = "SELECT id, token FROM job WHERE worker = %s AND status = 'RUNNING'"

Progress = Callable[[int, float], None]
"""Hears how many jobs there are, and the seconds since the begin."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What a run of the generator did."""

    jobs: int
    seconds: float

    @property
    def rate(self) -> float:
        """Whole lives per second."""
        return self.jobs / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class Generator:
    """Writes with the parts that the jobs service writes with; several lanes take batches in turn."""

    pool: AsyncConnectionPool
    ledger: Ledger
    claims: Claims
    reports: Reports
    ready: Counter[str] = field(default_factory=Counter)
    """Jobs of each queue that wait to be finished."""
    next: int = 0

    @classmethod
    def on(cls, pool: AsyncConnectionPool) -> Self:
        """On this database."""
        ledger = Ledger(PostgresStore(Journal(pool)))
        return cls(pool, ledger, Claims(ledger, pool), Reports(ledger))

    async def fill(self, upto: int, seed: int, progress: Progress = lambda _jobs, _seconds: None) -> Filled:
        """Go on until there are so many jobs; what an interrupted run left open is finished first."""
        await self._finish_what_was_left()
        before = self.next = await self.count()
        began = time.perf_counter()

        async def lane() -> None:
            while self.next < upto:
                first, self.next = self.next, min(self.next + BATCH, upto)
                await self.create(mix.planned(seed, first, self.next - first))
                for queue in [name for name, waiting in self.ready.items() if waiting >= MAX_CLAIM]:
                    await self.finish(queue)
                progress(self.next, time.perf_counter() - began)

        await asyncio.gather(*(lane() for _ in range(_LANES)))
        await self._finish_everything()
        return Filled(max(0, upto - before), time.perf_counter() - began)

    async def count(self) -> int:
        """How many jobs there are."""
        async with self.pool.connection() as conn:
            row = await (await conn.execute(_COUNT)).fetchone()
        return 0 if row is None else int(row[0])

    async def create(self, jobs: Iterable[Planned]) -> None:
        """One transaction of commands, as they come from producers."""
        wishes: list[Wish] = []
        for job in jobs:
            wishes.append(_creation(job))
            if job.end is End.CANCELLED:
                wishes.append(_command(CancelJob(job_id=wishes[-1].command.job_id)))
            elif job.end in {End.COMPLETED, End.FAILED}:
                self.ready[job.queue] += 1
        await self.ledger.settle(wishes)

    async def finish(self, queue: str) -> int:
        """Claim what is ready, at most 512 jobs, and report how they ended; gives how many."""
        self.ready[queue] -= MAX_CLAIM  # the other lane need not come, too
        leased = await self._claim(queue, mix.KINDS, _WORKER)
        self.ready[queue] += MAX_CLAIM - len(leased)
        await self.reports.serve([DoneReport(worker=_WORKER, items=list(map(_ended, leased)))])
        return len(leased)

    async def _claim(self, queue: str, kinds: Sequence[str], worker: str) -> list[LeasedJob]:
        requests = [
            LeaseRequest(
                request_id=new_id(), worker=worker, kinds=list(kinds), max=MAX_CLAIM // _AT_ONCE, lease_ms=_LEASE_MS
            )
            for _ in range(_AT_ONCE)
        ]
        return [job for some in (await self.claims.claim(queue, requests)).jobs for job in some]

    async def _finish_everything(self) -> None:
        for queue in mix.BUSY_QUEUES:
            while await self.finish(queue):
                pass
        while await self._claim(mix.HELD_QUEUE, [mix.HELD_KIND], _HOLDER):
            pass
        self.ready.clear()

    async def _finish_what_was_left(self) -> None:
        async with self.pool.connection() as conn:
            found = await (await conn.execute(_LEFT_RUNNING, (_WORKER,))).fetchall()
        items = [DoneItem(job=job, token=token, outcome="completed") for job, token in found]
        for first in range(0, len(items), BATCH):
            await self.reports.serve([DoneReport(worker=_WORKER, items=items[first : first + BATCH])])
        await self._finish_everything()


async def fill(url: str, upto: int, *, seed: int, progress: Progress = lambda _jobs, _seconds: None) -> Filled:
    """Fill the database at `url`, of the role of the jobs service, until there are so many jobs."""
    pool = await database.open_pool(url, schema="jobs", service="populate", min_size=_LANES, max_size=_LANES + 1)
    try:
        return await Generator.on(pool).fill(upto, seed, progress)
    finally:
        await pool.close()


async def park(url: str, upto: int) -> None:
    """Create jobs that are ready and that nobody runs, until there are so many of them."""
    pool = await database.open_pool(url, schema="jobs", service="populate", min_size=1)
    try:
        async with pool.connection() as conn:
            row = await (await conn.execute(_PARKED, (mix.PARKED_QUEUE,))).fetchone()
        there = 0 if row is None else int(row[0])
        generator = Generator.on(pool)
        for first in range(there, upto, BATCH):
            await generator.create(mix.parked(first, min(BATCH, upto - first)))
    finally:
        await pool.close()


def _creation(job: Planned) -> Wish:
    wish = _command(
        CreateJob(
            job_id=JobId(new_id()),
            kind=job.kind,
            queue=job.queue,
            priority=job.priority,
            tags=list(job.tags),
            payload=job.payload,
            run_at=clock.now() + timedelta(hours=job.wait_h) if job.end is End.WAITING else None,
        )
    )
    wish.body = bodies.seal(wish.event_id, job.payload)
    return wish


def _command(wanted: AnyJobCommand) -> Wish:
    digest = hashlib.sha256(to_json(wanted)).hexdigest()
    delivered = Delivered(new_id(), wanted.type, clock.now() + timedelta(hours=1), digest)
    return Wish(wanted, Cause(_ACTOR, new_id()), delivered=delivered)


def _ended(job: LeasedJob) -> DoneItem:
    """How the job was meant to end."""
    number = job.payload.get("n")
    nth = number if isinstance(number, int) else 0
    if job.payload.get("end") != End.FAILED:
        result: JsonValue = {"rows": nth % 97} if nth % 3 == 0 else None
        return DoneItem(job=job.job, token=job.token, outcome="completed", result=result)
    name, message = _ERRORS[nth % len(_ERRORS)]
    error = ReportedError(type=name, message=f"{message} ({nth})", stack=_STACK, retryable=False)
    return DoneItem(job=job.job, token=job.token, outcome="failed", error=error)
