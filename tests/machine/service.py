"""The service under test: its real handlers on a real PostgreSQL whose clock stands still, with crashes at commits."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast
from unittest import mock

import psycopg
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.chassis.intake import Delivery
from jobplane.chassis.journal import Exchange, Journal
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.commands import AnyCommand
from jobplane.contracts.envelope import REPLY_TO, CommandMessage, CommandOutcome
from jobplane.contracts.ids import CommandId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.operations import BulkAction
from jobplane.contracts.subjects import inbox_prefix, job_command
from jobplane.contracts.workers import DoneItem, DoneReport, LeasedJob, LeaseRequest
from jobplane.jobs import planner, queue_control
from jobplane.jobs.archiver import Archiver
from jobplane.jobs.chunks import carry_out_next
from jobplane.jobs.claims import Claims
from jobplane.jobs.database_clock import DatabaseClock
from jobplane.jobs.directives import Directives
from jobplane.jobs.handlers import CommandHandler
from jobplane.jobs.leases import Leases
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.operations import Operations
from jobplane.jobs.planner import ByFilter, Planner
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.redaction import Redaction
from jobplane.jobs.reports import Reports
from jobplane.jobs.rescuer import Rescuer
from jobplane.jobs.runner import Runner
from jobplane.jobs.scheduler import Scheduler
from jobplane.jobs.search_index import SearchIndex
from jobplane.jobs.store import Due
from tests.machine.jobs import LEASE
from tests.machine.operations import CHUNK, REASON_OVER
from tests.support.servers import Database

T = TypeVar("T")
ARCHIVED_AFTER: Final = timedelta(hours=2)
_NOBODY_HIDES: Final = Redaction.of([])
_DUE: Final = {"expired": Due.EXPIRED, "overdue": Due.OVERDUE, "unsettled": Due.UNSETTLED}
_FAKE_CLOCK: Final = """
CREATE TABLE public.machine_clock AS SELECT clock_timestamp() AS at;
GRANT SELECT ON public.machine_clock TO PUBLIC;
SET allow_system_table_mods = on;
ALTER FUNCTION pg_catalog.clock_timestamp() RENAME TO real_clock_timestamp;
CREATE FUNCTION pg_catalog.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE SECURITY DEFINER
    AS 'SELECT at FROM public.machine_clock'
"""
_EMPTY: Final = """
TRUNCATE jobs.event, jobs.job, jobs.body, jobs.command_outcome, jobs.job_count, jobs.error_group, jobs.error_trend,
    jobs.operation, jobs.plan_chunk, jobs.queue_control, jobs.job_search;
UPDATE jobs.journal_head SET pos = 0;
UPDATE jobs.search_progress SET position = 0;
UPDATE jobs.beat_service SET since = '2000-01-01', served_until = '2100-01-01'
"""


class Crash(BaseException):
    """The process ends here; nothing may catch it."""


@dataclass
class Doom:
    """When the process ends: `before` or `after` its next commit, or not at all."""

    when: str | None = None

    def strike(self, when: str) -> None:
        """Come to a commit."""
        if self.when == when:
            self.when = None
            raise Crash


@dataclass
class Site:
    """A database for many runs of the machine, one after the other, and the loop that they use."""

    database: Database
    runner: asyncio.Runner
    pool: AsyncConnectionPool
    conn: psycopg.Connection[Any]
    """As the superuser: moves the clock, and looks behind the scenes."""

    @classmethod
    @contextmanager
    def of(cls, database: Database) -> Iterator["Site"]:
        """Prepare a database."""
        with psycopg.connect(database.admin_url, autocommit=True) as conn, asyncio.Runner() as runner:
            conn.execute(_FAKE_CLOCK.encode())
            pool = runner.run(databases.open_pool(database.url("jobs"), schema="jobs", service="jobs", min_size=2))
            try:
                yield cls(database, runner, pool, conn)
            finally:
                runner.run(pool.close())


class Inboxes:
    """Where outcomes arrive; the only part of the bus that is needed here."""

    def __init__(self) -> None:
        self.heard: dict[str, CommandOutcome] = {}

    async def publish_all(self, messages: Sequence[tuple[str, None, bytes]]) -> None:
        """Hear answers."""
        for subject, _, data in messages:
            self.heard[subject.rpartition(".")[2]] = CommandOutcome.model_validate_json(data)


@dataclass
class Service:
    """One life after the other of one jobs service, on an empty database."""

    site: Site
    now: datetime
    doom: Doom = field(default_factory=Doom)
    crashes: int = 0

    def __post_init__(self) -> None:
        self.site.conn.execute(_EMPTY.encode())
        self._patches = ExitStack()
        self._patches.enter_context(_doomed(self.doom))
        self._patches.enter_context(mock.patch.object(planner, "MOST", CHUNK))
        self._patches.enter_context(mock.patch.object(random, "random", return_value=0.5))
        self._patches.enter_context(mock.patch.object(clock, "now", self._the_time))
        self._patches.enter_context(mock.patch.object(DatabaseClock, "now", self._the_time))
        self.set_clock(self.now)
        self._start()

    def _the_time(self, *_: object) -> datetime:
        return self.now

    def close(self) -> None:
        """No more."""
        self._patches.close()

    def set_clock(self, now: datetime) -> None:
        """What time it is, here and in the database."""
        self.now = now
        self.site.conn.execute("UPDATE public.machine_clock SET at = %s", (now,))

    def _start(self) -> None:
        pool = self.site.pool
        self._journal = Journal(pool)
        self._ledger = Ledger(PostgresStore(self._journal))
        self._claims = Claims(self._ledger, pool)
        matching = ByFilter(_NOBODY_HIDES, self._journal, SearchIndex(pool, _NOBODY_HIDES))
        operations = Operations(REASON_OVER, matching.drift)
        rules = operations.rules
        for command, rule in queue_control.RULES.items():
            rules[command] = rule
        directives = Directives(self._journal, self._ledger.refusals, rules)
        self._inboxes = Inboxes()
        bus = cast("Connection", self._inboxes)
        self._handler = CommandHandler(self._ledger, Leases(self._claims), ReadModel(pool), bus, directives.carry_out)
        self._planner = Planner(self._journal, operations, lambda: None, matching)
        self._runner = Runner(self._journal, operations)

    def live(self, work: Coroutine[Any, Any, T], crash: str | None = None) -> T | None:
        """Do something; None where the process died of it, and was started anew."""
        self.doom.when = crash
        try:
            return self.site.runner.run(work)
        except Crash:
            self.crashes += 1
            self._start()
            return None
        finally:
            self.doom.when = None

    # Everything that it does, each a coroutine for `live`.

    async def handle(self, messages: Sequence[CommandMessage]) -> list[CommandOutcome]:
        """Decide commands as they come from the bus."""
        inboxes = [new_id() for _ in messages]
        deliveries = [
            Delivery(
                job_command("gateway", message.command.type),
                {REPLY_TO: f"{inbox_prefix('gateway')}.{inbox}"},
                message.model_dump_json().encode(),
                "",
            )
            for inbox, message in zip(inboxes, messages, strict=True)
        ]
        poison = await self._handler(deliveries)
        assert poison == [None] * len(messages), poison
        return [self._inboxes.heard.pop(inbox) for inbox in inboxes]

    async def lease(self, queue: str, request: LeaseRequest) -> list[LeasedJob]:
        """Give a worker jobs."""
        return (await self._claims.claim(queue, [request])).jobs[0]

    async def given(self, request: LeaseRequest) -> list[LeasedJob]:
        """What a worker was given that asks again."""
        return await self._claims.given(request)

    async def report(self, worker: str, items: list[DoneItem]) -> list[str]:
        """Hear what became of runs."""
        [reply] = await Reports(self._ledger).serve([DoneReport(worker=worker, items=items)])
        return [answer.status for answer in reply.answers]

    async def schedule(self) -> int:
        """The scheduler's look."""
        return await Scheduler(self.site.pool, lambda _: None).run_once()

    async def rescue(self, what: str) -> int:
        """The rescuer's look at one sort of what is overdue."""
        return await Rescuer(self._ledger, self.site.pool).settle(_DUE[what])

    async def archive(self, status: str) -> int:
        """The archiver's look at one status."""
        return await Archiver(self._ledger, self.site.pool, {JobStatus(status): ARCHIVED_AFTER}).run_once()

    async def plan(self, operation_id: str) -> bool:
        """Plan one operation."""
        return await self._planner.plan(operation_id)

    async def carry_out(self, operation_id: str, action: str) -> object:
        """One chunk of one operation."""
        return await carry_out_next(self._journal, operation_id, BulkAction(action))

    async def finish(self, operation_id: str) -> None:
        """End an operation all of whose jobs were looked at."""
        await self._runner._finish(operation_id)

    async def run_operations(self) -> int:
        """All that may be done of all operations."""
        return await self._runner.run_once()


def request(worker: str, kinds: Sequence[str], most: int) -> LeaseRequest:
    """A worker asks for jobs."""
    lease_ms = int(LEASE.total_seconds() * 1000)
    return LeaseRequest(request_id=new_id(), worker=worker, kinds=list(kinds), max=most, lease_ms=lease_ms)


def message(command: AnyCommand, who: str, *, superadmin: bool, facts: Mapping[str, Any]) -> CommandMessage:
    """A command as the gateway sends it."""
    role = Role.SUPERADMIN if superadmin else Role.ADMIN
    told: dict[str, Any] = {"actor": Actor(id=who, kind=ActorKind.USER, role=role), "correlation_id": new_id()}
    return CommandMessage(command=command, **(told | dict(facts) | {"command_id": CommandId(facts["command_id"])}))


@contextmanager
def _doomed(doom: Doom) -> Iterator[None]:
    """Both ways to commit come past the doom."""
    commit: Callable[[Exchange], Awaitable[None]] = Exchange.commit
    transaction = Journal.transaction

    async def doomed_commit(self: Exchange) -> None:
        doom.strike("before")
        await commit(self)
        doom.strike("after")

    @asynccontextmanager
    async def doomed_transaction(self: Journal) -> AsyncIterator[Any]:
        async with transaction(self) as tx:
            yield tx
            doom.strike("before")
        doom.strike("after")

    with (
        mock.patch.object(Exchange, "commit", doomed_commit),
        mock.patch.object(Journal, "transaction", doomed_transaction),
    ):
        yield
