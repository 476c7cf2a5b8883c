"""How the parts of the jobs service hang together: four connections to the bus, one pool, the loops."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import psycopg
import structlog
from nats.errors import Error as NatsError
from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue, SecretStr

from jobplane.chassis import bus, clock, database, journal_pages, queries, streams, trim
from jobplane.chassis.bus import Connection
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.intake import Intake
from jobplane.chassis.journal import Journal
from jobplane.chassis.loops import Loop
from jobplane.chassis.probe import Probe
from jobplane.chassis.queries import Broker
from jobplane.chassis.relay import Relay, creator
from jobplane.chassis.trim import Trim
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.operations import JobsChanged, OperationCommand
from jobplane.contracts.subjects import dead_letter, job_event
from jobplane.contracts.topology import EVT_JOBS, JOBS_INTAKE
from jobplane.jobs import (
    archiver,
    beats,
    dead_letters,
    error_views,
    freed,
    leases,
    planner,
    pruner,
    queue_control,
    queue_views,
    read_model,
    reports,
    rescuer,
    runner,
    scheduler,
    search_index,
)
from jobplane.jobs.claims import Claims
from jobplane.jobs.dead_letters import DeadLetters
from jobplane.jobs.directives import Directives, Ruling
from jobplane.jobs.effects import Effects, waiting
from jobplane.jobs.handlers import CommandHandler
from jobplane.jobs.histories import Histories
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.measures import measure
from jobplane.jobs.operation_views import OperationViews
from jobplane.jobs.operations import Operations
from jobplane.jobs.planner import ByFilter
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.redaction import NOTHING
from jobplane.jobs.search import Search
from jobplane.jobs.settings import Settings
from jobplane.jobs.subscribers import WorkerProtocol, serve_errors, serve_operations, serve_queries, serve_queues
from jobplane.jobs.wishes import Directive, Settled

log = structlog.get_logger()

SOURCE: Final = "jobplane/jobs"
_SUM_UP_EVERY_S = 5.0
# The queue in the JSON of one of our own events: inside of texts its quotes would be escaped, and it comes first.
_QUEUE = re.compile(rb'"queue":"([a-z0-9_-]{1,64})"')
_JOB = re.compile(rb'"job" ?: ?"([0-9a-f-]{36})"')


def subject_of(event: EventRecord) -> str:
    """Where an event of this service is published."""
    if event.type == JobsChanged.TYPE:  # in the shard of its jobs, among whose events it is
        job = _JOB.search(event.data)
        return job_event(job[1].decode() if job else event.stream_id, None, event.type)
    queue = None if event.type.startswith("operation.") else _QUEUE.search(event.data)
    return job_event(event.stream_id, queue[1].decode() if queue else None, event.type)


@dataclass(slots=True)
class Bus:
    """The connections, each of a user that may do just its part."""

    answers: Connection
    intake: Connection
    relay: Connection
    broker: Broker

    @classmethod
    async def connect(cls, settings: Settings) -> Self:
        """Connect all of them."""

        async def as_user(url: SecretStr, user: str) -> Connection:
            return await bus.connect(url.get_secret_value(), user=user, name=user)

        return cls(
            answers=await as_user(settings.nats_url, "jobs"),
            intake=await as_user(settings.intake_nats_url, "jobs-intake"),
            relay=await as_user(settings.relay_nats_url, "jobs-relay"),
            broker=queries.broker(settings.nats_url.get_secret_value(), "jobs", "jobs queries"),
        )

    @property
    def connected(self) -> bool:
        """Whether all of them stand."""
        return all(connection.is_connected for connection in (self.answers, self.intake, self.relay))

    async def close(self) -> None:
        """Close all of them."""
        await self.broker.stop()
        await asyncio.gather(*(bus.close(connection) for connection in (self.answers, self.intake, self.relay)))


class Wiring:
    """The running service."""

    def __init__(self, settings: Settings, pool: AsyncConnectionPool, connections: Bus, drifts: Sequence[str]) -> None:
        self._settings = settings
        self._pool = pool
        self._bus = connections
        self._drifts = list(drifts)
        journal = Journal(pool, self._nudge_relay)
        self._journal = journal
        self._relay = Relay(
            journal,
            connections.relay,
            stream=EVT_JOBS,
            source=SOURCE,
            subject_of=subject_of,
            create=creator(settings.topology_nats_url.get_secret_value(), EVT_JOBS),
        )
        self._ledger = Ledger(PostgresStore(journal), self._after_commit, settings.reasons)
        self._leases = leases.Leases(Claims(self._ledger, pool))
        self._effects = Effects(connections.answers, settings.instance, self._leases.wake)
        model = read_model.ReadModel(pool, settings.redaction)
        self._protocol = WorkerProtocol(
            connections.answers,
            self._leases,
            beats.Beats(self._ledger, pool),
            reports.Reports(self._ledger),
            self._effects,
        )
        self._search_index = search_index.SearchIndex(pool, settings.redaction, lambda: self._runner.busy)
        self._matching = ByFilter(settings.redaction, journal, self._search_index)
        self._operations = Operations(
            settings.bulk_reason_over, self._matching.drift, settings.reasons, settings.redaction
        )
        self._runner = runner.Runner(journal, self._operations, self._effects.after_chunk, self._run_again)
        rules = self._operations.rules
        for command, rule in queue_control.RULES.items():
            rules[command] = rule
        directives = Directives(journal, self._ledger.refusals, rules, self._after_directive, settings.reasons)
        handler = CommandHandler(
            self._ledger, self._leases, model, connections.intake, directives.carry_out, settings.redaction
        )
        self._intake = Intake(
            connections.intake, JOBS_INTAKE, handler, dead_letters=dead_letter("jobs", "command"), repair=self._repair
        )
        searching = Search(pool, model, settings.redaction, settings.search_timeout_ms)
        histories = Histories(pool, model, settings.redaction)
        unredacted = Histories(pool, read_model.ReadModel(pool, NOTHING), NOTHING)
        serve_queries(connections.broker, model, searching, histories, unredacted, journal, lambda: self._relay.relayed)
        serve_queues(connections.broker, queue_views.QueueViews(pool))
        serve_operations(connections.broker, OperationViews(pool))
        opened = dead_letters.opener(settings.topology_nats_url.get_secret_value())
        dead_letters.answer(connections.broker, DeadLetters(opened, handler.once_more, settings.redaction))
        serve_errors(connections.broker, error_views.ErrorViews(pool, settings.redaction))
        journal_pages.serve(
            connections.broker,
            EVT_JOBS,
            journal,
            source=SOURCE,
            subject_of=subject_of,
            relayed=lambda: self._relay.relayed,
        )
        self._scheduler = scheduler.Scheduler(pool, self._effects.wake, self._schedule_again)
        self._scheduling = Loop("scheduler", self._scheduler.run_once, scheduler.EVERY_S)
        self._freed = freed.Freed(pool)
        self._freeing = Loop("limits", self._freed.run_once, freed.EVERY_S)
        self._running, self._planning = self._bulk_loops()
        self._loops = [*self._make_loops(), self._running, *self._planning]

    @classmethod
    async def connect(cls, settings: Settings, pool: AsyncConnectionPool, drifts: Sequence[str]) -> Self:
        """Connect to the bus and put everything together."""
        return cls(settings, pool, await Bus.connect(settings), drifts)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop, then finish what is under way."""
        self._bus.intake.add_reconnect_listener(self._after_reconnect)
        self._bus.relay.add_reconnect_listener(self._recheck_relay)
        probe = Probe(self._settings.probe_port, self.ready)
        heartbeat = Heartbeat(
            self._bus.intake,
            "jobs",
            self._settings.instance,
            ready=self.ready,
            pool=lambda: database.pool_figures(self._pool),
            in_flight=lambda: self._protocol.in_flight + self._intake.in_flight,
            detail=self._detail,
        )
        ended = asyncio.Event()
        relaying = asyncio.create_task(self._relay.run(ended), name="relay")
        await probe.start()
        heartbeat.start()
        await _first_of(stop, relaying, done=self._relay.verified)
        await self._bus.broker.start()
        intake = asyncio.create_task(self._intake.run(stop), name="intake")
        await self._protocol.start()
        for loop in self._loops:
            loop.start()
        await _first_of(stop, relaying, intake)
        await probe.stop()
        for loop in self._loops:
            await loop.stop()
        self._intake.wake()
        await self._protocol.stop()
        await asyncio.wait({intake}, timeout=1)
        await self._sum_up_the_rest()
        ended.set()
        self._relay.nudge()
        await asyncio.wait({relaying}, timeout=1)
        await heartbeat.stop()
        await self._bus.close()

    async def _sum_up_the_rest(self) -> None:
        """Record the refusals that were too many to record singly, if the database is there."""
        try:
            async with asyncio.timeout(1):
                await self._ledger.sum_up_refusals(clock.now(), closing=True)
        except (Unavailable, psycopg.Error, TimeoutError) as error:
            log.warning("refusals.not_summed_up", error=type(error).__name__)

    async def ready(self) -> bool | str:
        """Whether commands would be accepted now."""
        if not self._bus.connected:
            return "the bus is away"
        if not self._relay.verified.is_set():
            return "journal and bus are not compared yet"
        figures = await self._journal.figures()
        return f"writes are halted: {figures.halted}" if figures.halted else True

    def _make_loops(self) -> list[Loop]:
        served = rescuer.BeatService(self._pool, self._bus_answers, lease_ms=self._settings.lease_ms)
        old = archiver.Archiver(self._ledger, self._pool, self._settings.retention)
        return [
            self._scheduling,
            self._freeing,
            Loop("beat service", served.run_once, served.every_s),
            Loop("rescuer", rescuer.Rescuer(self._ledger, self._pool).run_once, rescuer.EVERY_S),
            Loop("search index", self._search_index.run_once, search_index.EVERY_S),
            Loop("archiver", old.run_once, archiver.EVERY_S),
            Loop("pruner", pruner.Pruner(self._pool).run_once, pruner.EVERY_S),
            Loop("trim", Trim(self._bus.intake, JOBS_INTAKE, lambda: self._intake.acknowledged).run_once, trim.EVERY_S),
            Loop("refusals", lambda: self._ledger.sum_up_refusals(clock.now()), _SUM_UP_EVERY_S),
        ]

    def _bulk_loops(self) -> tuple[Loop, tuple[Loop, ...]]:
        """The loop that carries operations out, and those that plan them: a plan that takes long holds up no other."""
        running = Loop("bulk runner", self._runner.run_once, runner.EVERY_S)
        plan = planner.Planner(self._journal, self._operations, running.nudge, self._matching)
        return running, tuple(
            Loop(f"bulk planner {n}", plan.run_once, planner.EVERY_S) for n in range(1, planner.AT_ONCE + 1)
        )

    async def _bus_answers(self) -> bool:
        """Whether the connection that serves beats has its round trip; while it reconnects, `flush` would not say."""
        if not self._bus.answers.is_connected:
            return False
        try:
            await self._bus.answers.flush(timeout=2)
        except (NatsError, OSError, TimeoutError):
            return False
        return True

    def _after_commit(self, settled: Sequence[Settled]) -> None:
        self._effects.after_commit(settled)
        for queue in self._freed.queues(settled):
            self._effects.wake(queue)
        measure(settled)
        waits = [wait for wait in map(waiting, settled) if wait is not None]
        if waits:
            self._scheduler.expect(min(waits))

    def _after_directive(self, directive: Directive, ruling: Ruling) -> None:
        if isinstance(directive.command, OperationCommand):
            for planning in self._planning:
                planning.nudge()
            self._running.nudge()
        else:
            self._freeing.nudge()
        for queue in ruling.wakes:
            self._effects.wake(queue)

    def _run_again(self, wait_s: float) -> None:
        asyncio.get_running_loop().call_later(wait_s, self._running.nudge)

    def _schedule_again(self, wait_s: float) -> None:
        asyncio.get_running_loop().call_later(wait_s, self._scheduling.nudge)

    def _nudge_relay(self) -> None:
        self._relay.nudge()

    async def _recheck_relay(self) -> None:
        self._relay.recheck()

    async def _after_reconnect(self) -> None:
        """The bus may have lost everything: make missing streams anew before commands are pulled again."""
        try:
            await self._repair()
        except Unavailable as error:
            log.warning("topology.not_repaired", detail=error.detail)  # pulls are refused, and ask for it again
        self._intake.wake()

    async def _repair(self) -> None:
        """Make anew what of ours the bus has lost."""
        nc = await bus.connect(
            self._settings.topology_nats_url.get_secret_value(), user="topology", name="jobs topology"
        )
        try:
            self._drifts = await streams.ensure(nc, "jobs")
        finally:
            await bus.close(nc)

    def _detail(self) -> dict[str, JsonValue]:
        return {
            "relayed": self._relay.relayed,
            "drifts": list(self._drifts),
            "failing": [loop.name for loop in self._loops if loop.failing],
        }


async def _first_of(stop: asyncio.Event, *tasks: asyncio.Task[None], done: asyncio.Event | None = None) -> None:
    """Wait for the stop, or for `done`; a task that dies before takes the service down, so that it is started anew."""
    events = [asyncio.create_task(event.wait()) for event in (stop, done) if event is not None]
    await asyncio.wait({*events, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for event in events:
        event.cancel()
    for task in tasks:
        if task.done() and not stop.is_set():
            task.result()
