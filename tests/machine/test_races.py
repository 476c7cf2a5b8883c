"""Everybody at once on a real PostgreSQL: whoever wins, all tells the same story; `just machine` goes on for longer."""

import asyncio
import os
import random
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

import psycopg
import pytest
from psycopg.rows import dict_row

from jobplane.contracts.commands import (
    AnyCommand,
    CancelJob,
    CreateJob,
    EditJob,
    ForceRunJob,
    RestoreJob,
    RetryJob,
)
from jobplane.contracts.ids import JobId
from jobplane.contracts.operations import (
    BulkAction,
    BulkEdit,
    PauseOperation,
    PlanOperation,
    ResumeOperation,
    StopOperation,
    UndoOperation,
)
from jobplane.contracts.queues import LimitQueue, Limits, PauseQueue, Rate, ResumeQueue
from tests.chaos import checker, evidence
from tests.machine import asking, service
from tests.machine.service import Service, Site
from tests.support import servers
from tests.support.servers import Database

START: Final = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG: Final = int(os.environ.get("JOBPLANE_MACHINE_EXAMPLES", "0")) > 100
ROUNDS: Final = 60 if LONG else 12
AT_ONCE: Final = 14
QUEUES: Final = asking.QUEUES
KINDS: Final = asking.KINDS
WHO: Final = ("commands",) * 4 + ("queue", "bulk", "bulk", "operations", "lease", "lease", "report", "loops")
ENDS: Final = (("completed", "", False), ("failed", "First", False), ("released", "", False))
INVARIANTS: Final = ("I1", "I4", "I5", "I9")
"""Those that need neither bus nor clients."""


class Crowd:
    """Who wants what; the seed decides that, PostgreSQL who is first."""

    def __init__(self, site: Site, seed: int) -> None:
        self.dice = random.Random(seed)
        self.service = Service(site, START)
        self.numbers = count(1)
        self.jobs: list[str] = []
        self.operations: list[str] = []
        self.runs: list[tuple[str, str, str]] = []

    def _id(self) -> str:
        n = next(self.numbers)
        ms = int(self.service.now.timestamp() * 1000)
        return f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7000-8000-{n:010x}{(n * 7) % 256:02x}"

    def anything(self) -> Coroutine[Any, Any, Any]:  # noqa: PLR0911 - one case each
        """One of them moves."""
        dice = self.dice
        match dice.choice(WHO):
            case "commands":
                return self._handle([self._of_job() for _ in range(dice.randint(1, 5))])
            case "queue":
                return self._handle([self._of_queue()])
            case "bulk":
                return self._handle([self._of_many()])
            case "operations":
                return self.service.run_operations()
            case "lease":
                return self._lease()
            case "report":
                return self._report()
            case _:
                return self._loops()

    async def _handle(self, commands: list[AnyCommand]) -> None:
        expires_at = self.service.now + timedelta(hours=1)
        facts = [{"command_id": self._id(), "reason": "a race", "expires_at": expires_at} for _ in commands]
        told = zip(commands, facts, strict=True)
        await self.service.handle([service.message(one, "ada", superadmin=True, facts=fact) for one, fact in told])

    def _of_job(self) -> AnyCommand:
        dice = self.dice
        if len(self.jobs) < 30 or dice.random() < 0.2:
            self.jobs.append(self._id())
            told: dict[str, Any] = {"kind": dice.choice(KINDS), "queue": dice.choice(QUEUES), "max_attempts": 1}
            return CreateJob(job_id=JobId(self.jobs[-1]), unique_key=dice.choice([None, None, "k", "l"]), **told)
        job_id = JobId(dice.choice(self.jobs[-40:]))
        if dice.random() < 0.2:
            return EditJob(job_id=job_id, priority=dice.randint(0, 9), queue=dice.choice(QUEUES))
        return dice.choice((RetryJob, CancelJob, ForceRunJob, RestoreJob))(job_id=job_id)

    def _of_queue(self) -> AnyCommand:
        dice = self.dice
        named: dict[str, Any] = dice.choice(({"queue": dice.choice(QUEUES)}, {"kind": dice.choice(KINDS)}))
        if dice.random() < 0.3:
            rate = dice.choice((None, Rate(starts=2, every_s=10, burst=3)))
            return LimitQueue(limits=Limits(concurrency=dice.choice((None, 2, 5)), rate=rate), **named)
        return dice.choice((PauseQueue, ResumeQueue, ResumeQueue))(**named)

    def _of_many(self) -> AnyCommand:
        dice = self.dice
        known, new = self.operations[-8:], self._id()
        if known and dice.random() < 0.4:
            one = dice.choice(known)
            if dice.random() < 0.5:
                return dice.choice((PauseOperation, ResumeOperation, StopOperation))(operation_id=one)
            self.operations.append(new)
            return UndoOperation(operation_id=new, undo_of=one, then_run=True)
        self.operations.append(new)
        action = dice.choice(list(BulkAction))
        edit = BulkEdit(priority=dice.randint(0, 9), max_attempts=3) if action is BulkAction.EDIT else None
        ids = [JobId(job) for job in dice.sample(self.jobs, min(len(self.jobs), 15))] or None
        wanted: dict[str, Any] | None = None if ids and dice.random() < 0.5 else {"queue": [dice.choice(QUEUES)]}
        chosen: dict[str, Any] = {"filter": wanted} if wanted else {"ids": ids}
        return PlanOperation(operation_id=new, action=action, edit=edit, then_run=True, **chosen)

    async def _lease(self) -> None:
        dice = self.dice
        worker = dice.choice(("w1", "w2"))
        leased = await self.service.lease(dice.choice(QUEUES), service.request(worker, KINDS, dice.randint(1, 6)))
        self.runs += [(job.job, worker, job.token) for job in leased]

    async def _report(self) -> None:
        some = self.dice.sample(self.runs[-20:], min(len(self.runs), 20, self.dice.randint(1, 4)))
        outcomes = [self.dice.choice(ENDS) for _ in some]
        if some:
            items = [asking.done_item(run, outcome) for run, outcome in zip(some, outcomes, strict=True)]
            await self.service.report(some[0][1], items)

    async def _loops(self) -> None:
        what = self.dice.choice(("plan", "plan", "schedule", "rescue", "archive"))
        if what == "plan":
            for operation_id in self.operations[-5:]:
                await self.service.plan(operation_id)
        elif what == "schedule":
            await self.service.schedule()
        elif what == "rescue":
            await self.service.rescue(self.dice.choice(("expired", "unsettled")))
        else:
            await self.service.archive(self.dice.choice(("COMPLETED", "FAILED", "CANCELLED")))

    async def round(self) -> None:
        """Many at once; what one of them meets is everybody's failure."""
        await asyncio.gather(*(self.anything() for _ in range(AT_ONCE)))


@pytest.fixture(scope="module")
def site(migrated_template: Database) -> Iterator[Site]:
    """One database for all rounds."""
    database = servers.copy_of(migrated_template)
    with Site.of(database) as prepared:
        yield prepared
    servers.drop(database)


def violations(site: Site) -> list[str]:
    """What the checker of chaos says."""
    with psycopg.connect(site.database.admin_url, row_factory=dict_row, autocommit=True) as conn:
        found = evidence._from_database(conn)
    losses = checker.Losses.of([])
    return [text for name in INVARIANTS for text in checker.INVARIANTS[name](found, [], losses)]


@pytest.mark.timeout(0 if LONG else 120)
def test_whoever_is_first_all_tells_the_same_story(site: Site) -> None:
    crowd = Crowd(site, seed=7)
    try:
        for number in range(ROUNDS):
            site.runner.run(crowd.round())
            assert (number, violations(site)) == (number, [])
            crowd.service.set_clock(crowd.service.now + timedelta(seconds=crowd.dice.choice((0, 1, 35, 7300))))
    finally:
        crowd.service.close()
