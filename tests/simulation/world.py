"""One run: a seed decides who is there, what they want, who moves next, and what breaks; then all must be well."""

import asyncio
import logging
import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, Final
from unittest import mock

import structlog
import uuid_utils

from jobplane.chassis import database as databases
from jobplane.chassis import refusals
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.contracts.queues import Pause
from jobplane.jobs.queue import Control, Target
from jobplane.jobs.store import Store
from jobplane.jobs.wishes import Settled
from tests.simulation import invariants
from tests.simulation.clients import ADMIN, FAR, KINDS, QUEUE, Client
from tests.simulation.faults import Faults
from tests.simulation.history import History
from tests.simulation.loop import Endless, Process, SimulatedLoop, Standstill
from tests.simulation.memory_bus import MemoryBus
from tests.simulation.memory_database import MemoryDatabase, Staged
from tests.simulation.memory_store import MemoryStore
from tests.simulation.replica import Replica
from tests.simulation.workers import LENGTHS_S, Worker

LONGEST_S: Final = 240.0
"""So long after the last fault everything must have come to its end."""
_QUEUE: Final = Target("queue", QUEUE)
_ASK_AGAIN_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run."""

    seed: int
    violations: list[str]
    trace: list[str] = field(default_factory=list)
    steps: int = 0
    events: int = 0
    types: frozenset[str] = frozenset()
    """Of the events."""
    crashes: int = 0
    lasted_s: float = 0.0


@dataclass(slots=True)
class _Part:
    """A process that is started anew when it was killed."""

    name: str
    main: Callable[[], Coroutine[Any, Any, None]]
    process: Process
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Asks it to end in order."""


@dataclass(slots=True)
class World:
    """Everybody, and what they live on."""

    seed: int
    make_store: Callable[[MemoryDatabase], Store] = MemoryStore
    make_database: Callable[..., MemoryDatabase] = MemoryDatabase
    traced: bool = False
    trace: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    dice: Random = field(init=False)
    loop: SimulatedLoop = field(init=False)
    faults: Faults = field(init=False)
    history: History = field(default_factory=History)
    database: MemoryDatabase = field(init=False)
    bus: MemoryBus = field(init=False)
    parts: dict[str, _Part] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    crashes: int = 0

    def run(self) -> Verdict:
        """Live through it, and judge."""
        self.dice = Random(self.seed)
        self.loop = SimulatedLoop(Random(self.dice.random()))
        few = mock.patch.object(refusals, "EVENTS_PER_MINUTE", 1)  # so that some refusals are summed up
        with few, _nothing_by_chance(self.dice.random(), self.loop.time), _errors_into(self.problems):
            try:
                self.loop.run(self._live())
            except (Standstill, Endless) as end:
                self.problems.append(f"{end!r}: after {self.loop.steps} steps, at {self.loop.now:.3f} s")
            wrong = self._judge()
        types = frozenset(event.type for _, event in self.database.events)
        return Verdict(
            self.seed,
            wrong,
            self.trace,
            self.loop.steps,
            len(self.database.events),
            types,
            self.crashes,
            self.loop.now,
        )

    def tell(self, who: str, what: str) -> None:
        """Note what somebody did."""
        if self.traced:
            self.trace.append(f"{self.loop.now:9.4f}  {who:<10} {what}")

    async def _live(self) -> None:
        self._prepare()
        trouble = asyncio.get_running_loop().create_task(self._trouble())
        await trouble
        self._heal()
        begun = self.loop.now
        while not self._is_quiet():
            if self.loop.now > begun + LONGEST_S:
                self.problems.append(f"{LONGEST_S:g} s after the last fault it is not quiet: {self._unquiet()}")
                return
            await asyncio.sleep(0.25)

    def _prepare(self) -> None:
        dice = self.dice
        self.faults = Faults(
            Random(dice.random()),
            latency_s=dice.choice((0.0005, 0.002, 0.01, 0.05)),
            crash=dice.choice((0, 0.003, 0.02)),
            lost_connection=dice.choice((0, 0, 0.005, 0.02)),
            lost_message=dice.choice((0, 0, 0.02, 0.1)),
            doubled_command=dice.choice((0, 0.1, 0.3)),
            kill=self.kill,
        )
        self.database = self.make_database(self.faults, self._committed)
        self.bus = MemoryBus(self.faults)
        for number in range(1, dice.choice((1, 2, 2, 3)) + 1):
            self._start(f"jobs-{number}", self._replica(f"jobs-{number}"))
        for number in range(1, dice.choice((1, 2, 2)) + 1):
            self._start(f"worker-{number}", self._worker(f"worker-{number}", dice.choice((0.6, 1, 1, 2, 6))))
        for number in range(1, dice.choice((1, 2)) + 1):
            self._client(f"client-{number}")

    def _replica(self, name: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            store = self.make_store(self.database)
            await Replica(name, self.database, store, self.bus, self._settled).run(self.parts[name].stop)

        return run

    def _worker(self, name: str, clock: float) -> Callable[[], Coroutine[Any, Any, None]]:
        async def run() -> None:
            dice = Random(self.dice.random())
            worker = Worker(
                name,
                dice,
                self.bus,
                self.history,
                self.tell,
                capacity=dice.choice((1, 2, 4)),
                clock=clock,
                lengths_s=dice.choice(LENGTHS_S),
                forgets=dice.choice((0, 0.2, 0.4)),
                stubborn=dice.random() < 0.5,
            )
            await worker.run()

        return run

    def _client(self, name: str) -> None:
        client = Client(
            name,
            Random(self.dice.random()),
            self.bus,
            self.database,
            self.history,
            self.tell,
            commands=self.dice.randint(3, 9),
            pace_s=self.dice.choice((0.05, 0.5, 1.2)),
            kinds=self.dice.choice((KINDS, KINDS[:1])),
            keys=self.dice.choice(((None, None, "first", "second"), (None, "first"), ("first",))),
        )
        self.clients.append(client)
        self._start(name, client.run)

    def _start(self, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        process = Process(name)
        part = self.parts[name] = _Part(name, main, process)
        self.loop.create_task(self._watched(part), context=process.context.copy())

    async def _watched(self, part: _Part) -> None:
        try:
            await part.main()
        except Exception as error:
            self.problems.append(f"{part.name} died of {error!r}")
            raise
        if part.stop.is_set():
            self.tell(part.name, "has stopped")
            self.loop.call_soon(self._end, part, context=self.loop.outside.context)

    # Trouble.

    async def _trouble(self) -> None:
        """Kill, freeze and halt, at random instants, until the clients have asked for everything."""
        victims = [name for name in self.parts if not name.startswith("client")]
        pace_s = self.dice.choice((0.3, 1.0, 3.0))
        every = (self._freeze, self._strike, self._replace, self._halt, self._pause)
        kinds = self.dice.choice(((), (self._freeze,), (self._strike,), (self._replace,), (self._pause,), every))
        while self.loop.now < 1 or any(client.commands for client in self.clients):
            await asyncio.sleep(self.dice.random() * 2 * pace_s)
            if kinds:
                self.dice.choice(kinds)(self.dice.choice(victims))
        await asyncio.sleep(self.dice.random() * 2)

    def _strike(self, name: str) -> None:
        self.kill(self.parts[name].process)

    def _replace(self, name: str) -> None:
        """As a deployment does."""
        self.tell(name, "is asked to stop")
        self.parts[name].stop.set()

    def _freeze(self, name: str) -> None:
        process = self.parts[name].process
        self.tell(name, "is frozen")
        self.loop.freeze(process)
        self.loop.call_later(self.dice.choice((0.3, 1.5, 6.0)), self._thaw, name)

    def _thaw(self, name: str) -> None:
        if self.parts[name].process.frozen:
            self.tell(name, "goes on")
            self.loop.thaw(self.parts[name].process)

    def _halt(self, _name: str) -> None:
        self.tell("operator", "writes are halted")
        self.database.halted = "the bus is ahead"
        self.loop.call_later(self.dice.random() * 2, self._open)

    def _open(self) -> None:
        if self.database.halted is not None:
            self.tell("operator", "writes are allowed")
            self.database.halted = None

    def _pause(self, _name: str) -> None:
        if self.faults.over:
            return
        paused = Pause(at=self.database.now(), by=ADMIN)
        if self.database.change_control(Control(_QUEUE, 1, paused)):
            self.tell("operator", "the queue is paused")
            self.loop.call_later(self.dice.choice((0.2, 1.0, 4.0)), self._resume)
        else:
            self.loop.call_later(_ASK_AGAIN_S, self._pause, "")

    def _resume(self) -> None:
        if self.database.change_control(Control(_QUEUE, 2)):
            self.tell("operator", "the queue goes on")
        else:
            self.loop.call_later(_ASK_AGAIN_S, self._resume)

    def kill(self, process: Process) -> None:
        """End a process without a word; it is started anew a little later."""
        part = self.parts[process.name]
        if part.process is not process or not process.alive:
            return
        self.crashes += 1
        self.tell(process.name, "is killed")
        self._end(part)

    def _end(self, part: _Part) -> None:
        process = part.process
        if not process.alive:
            return
        self.loop.kill(process)
        self.database.lost(process)
        wait_s = self.dice.random() * 2 if not self.faults.over else 0.1
        self.loop.call_later(wait_s, self._restart, part, context=self.loop.outside.context)

    def _restart(self, part: _Part) -> None:
        self.tell(part.name, "is started anew")
        self._start(part.name, part.main)

    def _heal(self) -> None:
        self.tell("world", "nothing breaks any more")
        self.faults.over = True
        self._open()
        for name in self.parts:
            self._thaw(name)

    # The end.

    def _is_quiet(self) -> bool:
        asked = self.bus.commands or any(not client.done for client in self.clients)
        return not (asked or self.database.locks or self._open_jobs())

    def _open_jobs(self) -> list[str]:
        soon = self.database.now() + FAR / 2
        return [
            row.job.id
            for row in self.database.rows.values()
            if row.job.stop == "pending"
            or (row.job.status not in FINISHED and (row.job.status is JobStatus.RUNNING or row.job.run_at < soon))
        ]

    def _unquiet(self) -> str:
        waiting = [client.name for client in self.clients if not client.done]
        return f"{len(self.bus.commands)} commands, clients {waiting}, jobs {self._open_jobs()}"

    def _judge(self) -> list[str]:
        asyncio._set_running_loop(self.loop)
        try:
            wrong = [*self.problems, *invariants.violations(self.database, self.bus, self.history)]
            for part in self.parts.values():
                self.loop.kill(part.process)
            self.loop.kill(self.database.server)
            self.loop.kill(self.bus.server)
        finally:
            asyncio._set_running_loop(None)
        wrong += self.loop.problems
        self.loop.shut()
        return wrong

    # What is told.

    def _committed(self, staged: Staged) -> None:
        if self.traced:
            for position, event in staged.events:
                body = event.data.decode()
                self.tell("journal", f"{position:>3} {event.type} {event.stream_id[-4:]} v{event.version} {body[:160]}")

    def _settled(self, name: str, settled: Settled) -> None:
        if self.traced:
            decision = type(settled.decision).__name__
            command = type(settled.wish.command).__name__
            self.tell(name, f"knows: {command} {settled.wish.command.job_id[-4:]} is {decision}")


@contextmanager
def _nothing_by_chance(seed: float, now: Callable[[], float]) -> Iterator[None]:
    """Ids, tokens, salts and jitter come from the seed too, and there is no clock but that of the loop."""
    dice = Random(seed)
    ids = (f"019a0000-0000-7000-8000-{number:012x}" for number in count(1))
    state = random.getstate()
    random.seed(seed)
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(uuid_utils, "uuid7", ids.__next__))
        patches.enter_context(mock.patch.object(time, "monotonic", now))
        patches.enter_context(mock.patch.object(os, "urandom", dice.randbytes))
        patches.enter_context(mock.patch.object(secrets, "token_hex", lambda size: dice.randbytes(size).hex()))
        try:
            yield
        finally:
            random.setstate(state)


@contextmanager
def _errors_into(problems: list[str]) -> Iterator[None]:
    """What the product logs as an error is a bug, unless it says that something is away."""

    def collect(_logger: Any, _method: str, told: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        error = sys.exc_info()[1]
        if error is None or not (databases.is_away(error) or isinstance(error, Unavailable)):
            problems.append(f"logged: {told.get('event')} {error!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    wrapper = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(processors=[collect], wrapper_class=wrapper, cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
