"""Clients: they ask for something, and repeat it until they are answered, or do not care."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

from pydantic import JsonValue

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor, ActorKind, Role, agent
from jobplane.contracts.commands import (
    AnyJobCommand,
    CancelJob,
    CreateJob,
    EditJob,
    ForceRunJob,
    RestoreJob,
    RetryJob,
)
from jobplane.contracts.envelope import REPLY_TO, CommandMessage, CommandOutcome
from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.subjects import job_command
from tests.simulation.history import History
from tests.simulation.memory_bus import MemoryBus, MemoryNats, Message
from tests.simulation.memory_database import MemoryDatabase

QUEUE: Final = "default"
KINDS: Final = ("echo", "resize")
ADMIN: Final = Actor(id="019a0000-0000-7000-8000-00000000000a", kind=ActorKind.USER, role=Role.ADMIN)
SERVICE: Final = agent("shop")
PAYLOADS: Final[tuple[dict[str, JsonValue], ...]] = ({}, {}, {}, {"n": 1}, {"n": 1}, {"large": "x" * 5000})
FAR: Final = timedelta(days=1)
_SLOWEST_S: Final = 4.0


@dataclass(slots=True)
class Client:
    """Somebody at the gateway."""

    name: str
    dice: Random
    bus: MemoryBus
    database: MemoryDatabase
    history: History
    tell: Callable[[str, str], None]
    commands: int
    pace_s: float
    kinds: Sequence[str]
    keys: Sequence[str | None]
    open: int = 0
    """Questions without an answer so far."""
    done: bool = False

    async def run(self) -> None:
        """Ask for so many things."""
        tasks: list[asyncio.Task[None]] = []
        while self.commands > 0:
            await asyncio.sleep(self.dice.random() * 2 * self.pace_s)
            for _ in range(min(self.commands, self.dice.choice((1, 2, 3, 6)))):
                self.commands -= 1
                tasks.append(asyncio.get_running_loop().create_task(self._ask(self._message(self._wanted()))))
        for task in tasks:
            await task
        self.done = True

    def _wanted(self) -> AnyJobCommand:
        thrown = self.dice.random()
        if thrown < 0.45 or not self.history.jobs:
            return self._creation()
        if thrown < 0.65 or self._in_status(JobStatus.FAILED):
            return RetryJob(job_id=self._some_job(JobStatus.FAILED))
        if thrown < 0.85:
            return CancelJob(job_id=self._some_job(JobStatus.RUNNING))
        if thrown < 0.9:
            return RestoreJob(job_id=self._some_job(JobStatus.CANCELLED))
        if thrown < 0.95:
            return self._edit()
        return ForceRunJob(job_id=self._some_job(JobStatus.PENDING))

    def _edit(self) -> EditJob:
        dice = self.dice
        return EditJob(
            job_id=self._some_job(dice.choice((JobStatus.PENDING, JobStatus.FAILED))),
            payload=dice.choice((None, None, *PAYLOADS)),
            priority=dice.choice((None, 0, 5)),
            run_at=dice.choice((None, None, self.database.now() + timedelta(seconds=dice.random() * 2))),
            max_attempts=dice.choice((None, None, 2, 3)),
        )

    def _some_job(self, status: JobStatus) -> JobId:
        """Mostly one that is in this status just now; it may not be any more when the command arrives."""
        fitting = self._in_status(status)
        if fitting and self.dice.random() < 0.75:
            return self.dice.choice(fitting)
        return self.dice.choice(self.history.jobs[-3:])

    def _in_status(self, status: JobStatus) -> list[JobId]:
        return [row.job.id for row in self.database.rows.values() if row.job.status is status]

    def _creation(self) -> CreateJob:
        dice = self.dice
        again = bool(self.history.jobs) and dice.random() < 0.05
        job_id = dice.choice(self.history.jobs) if again else JobId(new_id())
        self.history.jobs.append(job_id)
        now = self.database.now()
        return CreateJob(
            job_id=job_id,
            kind=dice.choice(self.kinds),
            queue=QUEUE,
            priority=dice.choice((0, 0, 5)),
            run_at=dice.choice((None, None, None, now + timedelta(seconds=dice.random() * 3), now + FAR)),
            max_attempts=dice.choice((1, 1, 1, 2, 3)),
            timeout_ms=dice.choice((None, None, 800, 2500)),
            unique_key=dice.choice(self.keys),
            payload=dice.choice(PAYLOADS),
        )

    def _message(self, command: AnyJobCommand) -> CommandMessage:
        told: dict[str, Any] = {}
        if self.dice.random() < 0.2:
            told["expected_version"] = self.history.versions.get(command.job_id, 1)
        if isinstance(command, EditJob) and self.dice.random() < 0.9:
            told["reason"] = "a better one"
        patience_s = 1.5 if self.dice.random() < 0.1 else 3600
        return CommandMessage(
            command_id=CommandId(new_id()),
            actor=SERVICE if isinstance(command, CreateJob) and self.dice.random() < 0.2 else ADMIN,
            correlation_id=new_id(),
            expires_at=self.database.now() + timedelta(seconds=patience_s),
            command=command,
            **told,
        )

    async def _ask(self, message: CommandMessage) -> None:
        self.history.asked[message.command_id] = message
        nats = MemoryNats(self.bus, _issuer(message))
        answered = asyncio.Event()

        async def hear(answer: Message) -> None:
            self._hear(CommandOutcome.model_validate_json(answer.data))
            answered.set()

        inbox = nats.new_inbox()
        subscription = await nats.subscribe(inbox, cb=hear)
        self.open += 1
        waits_s = 0.5
        cares = self.dice.random() < 0.75
        while not answered.is_set():
            await self._send(message, inbox if cares else None)
            if not cares:
                break
            try:
                async with asyncio.timeout(waits_s):
                    await answered.wait()
            except TimeoutError:
                waits_s = min(_SLOWEST_S, waits_s * 2)
        await subscription.unsubscribe()
        self.open -= 1

    async def _send(self, message: CommandMessage, inbox: str | None) -> None:
        command = message.command
        self.tell(self.name, f"asks {command.type} {command.target[-4:]} as {message.command_id[-4:]}")
        subject = job_command(_issuer(message), command.type)
        headers = {} if inbox is None else {REPLY_TO: inbox}
        data = message.model_dump_json().encode()
        for _ in range(2 if self.dice.random() < 0.1 else 1):
            await asyncio.sleep(self.bus.faults.delay_s())
            self.bus.enqueue(subject, data, headers)
        if self.dice.random() < 0.05:
            other = message.model_copy(update={"body_digest": "0" * 64})
            self.bus.enqueue(subject, other.model_dump_json().encode(), {})

    def _hear(self, outcome: CommandOutcome) -> None:
        self.history.answers[outcome.command_id].append(outcome)
        if outcome.job is not None:
            self.history.versions[outcome.job.id] = outcome.job.version
            if outcome.job.id not in self.history.jobs:
                self.history.jobs.append(outcome.job.id)
        self.tell(self.name, f"hears of {outcome.command_id[-4:]}: {outcome.code or outcome.status} {outcome.position}")


def _issuer(message: CommandMessage) -> str:
    """The NATS user that sends it: only the gateway speaks for people, producers only create."""
    return "gateway" if message.actor == ADMIN else "producer"
