"""All writers at random against each other, on few jobs: no deadlock surfaces, no update is lost."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database as databases
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.contracts.commands import AnyJobCommand, CancelJob, CreateJob, ForceRunJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import Beat, DoneItem, DoneReport, LeasedJob, LeaseRequest, RunningJob
from jobplane.jobs import outcomes
from jobplane.jobs.beats import Beats
from jobplane.jobs.claims import Claims
from jobplane.jobs.leases import Leases
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.reports import Reports
from jobplane.jobs.rescuer import Rescuer
from jobplane.jobs.scheduler import Scheduler
from jobplane.jobs.wishes import Wish
from tests.integration.jobs.driving import KIND
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.integration.jobs.wishing import command
from tests.support import servers
from tests.support.servers import Database

STEPS = 40
JOBS = 6
OUTCOMES: tuple[Literal["completed", "failed", "cancelled", "released"], ...] = (
    "completed",
    "failed",
    "failed",
    "cancelled",
    "released",
)
Told = tuple[str, str | None, int | None, str | None]


@pytest.fixture
def database(migrated_template: Database) -> Iterator[Database]:
    copy = servers.copy_of(migrated_template)
    change(copy.owner_url, "UPDATE beat_service SET since = now() - interval '1 h', served_until = 'infinity'")
    yield copy
    servers.drop(copy)


@pytest.fixture
async def pools(database: Database) -> AsyncIterator[list[AsyncConnectionPool]]:
    """Those of two services."""
    opened = [await databases.open_pool(database.url("jobs"), schema="jobs", service="jobs") for _ in range(2)]
    yield opened
    for pool in opened:
        await pool.close()


@dataclass
class World:
    """What the writers of all services know."""

    database: Database
    ids: list[JobId] = field(default_factory=lambda: [JobId(new_id()) for _ in range(JOBS)])
    runs: list[LeasedJob] = field(default_factory=list)
    sent: list[Wish] = field(default_factory=list)
    told: dict[str, set[Told]] = field(default_factory=dict)


class Service:
    """The writers of one service, each doing one random thing when called."""

    def __init__(self, world: World, pool: AsyncConnectionPool, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.ledger = Ledger(PostgresStore(Journal(pool)))
        self.leases = Leases(Claims(self.ledger, pool))
        self.beats = Beats(self.ledger, pool)
        self.reports = Reports(self.ledger)
        self.rescuer = Rescuer(self.ledger, pool)
        self.scheduler = Scheduler(pool, lambda _queue: None)
        self.writers: list[Callable[[], Awaitable[Any]]] = [
            self.command,
            self.command,
            self.lease,
            self.lease,
            self.report,
            self.beat,
            self.rescuer.run_once,
            self.scheduler.run_once,
            self.let_time_pass,
        ]

    async def command(self) -> None:
        """One to five commands, some of them sent before."""
        some = range(self.dice.randint(1, 5))
        batch = [self._repeated() or command(self._wanted(), **self._condition()) for _ in some]
        self.world.sent += batch
        for settled in await self.ledger.settle(batch):
            assert settled.wish.delivered is not None
            stored = outcomes.of(settled)
            told = (stored.status, stored.code, stored.position, stored.job_id)
            self.world.told.setdefault(settled.wish.delivered.command_id, set()).add(told)

    def _repeated(self) -> Wish | None:
        if not self.world.sent or self.dice.random() > 0.25:
            return None
        earlier = self.dice.choice(self.world.sent)
        return Wish(earlier.command, earlier.cause, delivered=earlier.delivered)

    def _wanted(self) -> AnyJobCommand:
        job_id = self.dice.choice(self.world.ids)
        match self.dice.randint(1, 8):
            case 1 | 2 | 3:
                return RetryJob(job_id=job_id)
            case 4:
                return CancelJob(job_id=job_id)
            case 5:
                return ForceRunJob(job_id=job_id)
        if self.dice.random() < 0.5:
            self.world.ids[self.world.ids.index(job_id)] = job_id = JobId(new_id())
        return CreateJob(
            job_id=job_id,
            kind=KIND,
            max_attempts=self.dice.randint(1, 2),
            unique_key=self.dice.choice([None, "first", "second"]),
            timeout_ms=self.dice.choice([None, 100]),
        )

    def _condition(self) -> dict[str, Any]:
        return {"expected_version": self.dice.choice([None, None, self.dice.randint(1, 4)])}

    async def lease(self) -> None:
        name = self.dice.choice(["worker-1", "worker-2"])
        most = self.dice.randint(1, 4)
        request = LeaseRequest(request_id=new_id(), worker=name, kinds=[KIND], max=most, lease_ms=1000)
        self.world.runs += (await self.leases.lease("default", request)).jobs

    async def report(self) -> None:
        items = [
            DoneItem(job=run.job, token=run.token, outcome=self.dice.choice(OUTCOMES)) for run in self._some_runs()
        ]
        await self.reports.serve([DoneReport(worker="worker-1", items=items)])

    async def beat(self) -> None:
        running = [RunningJob(job=run.job, token=run.token, progress=self.dice.random()) for run in self._some_runs()]
        await self.beats.serve([Beat(worker=name, running=running) for name in ("worker-1", "worker-2")])

    async def let_time_pass(self) -> None:
        """A lease is over, or a job waits for the scheduler."""
        job_id = self.dice.choice([*self.world.ids, *(run.job for run in self.world.runs[-JOBS:])])
        over = "UPDATE job SET lease_until = now() - interval '1 s' WHERE id = %s AND status = 'RUNNING'"
        waits = "UPDATE job SET ready = false WHERE id = %s AND status = 'PENDING'"
        await asyncio.to_thread(change, self.world.database.owner_url, self.dice.choice([over, waits]), (job_id,))

    def _some_runs(self) -> list[LeasedJob]:
        return self.dice.sample(self.world.runs, min(len(self.world.runs), self.dice.randint(1, 4)))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_update_is_lost(pools: list[AsyncConnectionPool], database: Database, seed: int) -> None:
    world = World(database)
    dice = random.Random(seed)
    services = [Service(world, pool, random.Random(dice.random())) for pool in pools]

    async def work(service: Service) -> None:
        for _ in range(STEPS):
            await service.dice.choice(service.writers)()

    await asyncio.gather(*(work(service) for service in services for _ in range(4)))
    for service in services:
        await service.leases.close()

    assert_consistent(database.owner_url)
    assert all(len(told) == 1 for told in world.told.values()), "a command has one outcome, whoever is asked"
    stored = {
        (row[0], row[1:])
        for row in rows_of(database.owner_url, "SELECT command_id, status, code, position, job_id FROM command_outcome")
    }
    assert stored == {(command_id, told) for command_id, (told,) in world.told.items()}
    kinds = {row[0] for row in rows_of(database.owner_url, "SELECT DISTINCT type FROM event")}
    assert len(kinds) >= 8, "the dice met most of what can happen"
