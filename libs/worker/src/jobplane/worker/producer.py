"""Enqueue jobs from another service, over the bus: one at a time or many thousands, each exactly once.

async with Producer.connect(nats_url, name="shop") as producer:
    await producer.enqueue("mail.welcome", {"to": "ada@example.org"}, key="welcome-4711")
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID, uuid5

from pydantic import JsonValue, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from jobplane.chassis import bus, clock
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor, agent
from jobplane.contracts.commands import DEFAULT_MAX_ATTEMPTS, CreateJob
from jobplane.contracts.envelope import CommandMessage
from jobplane.contracts.errors import JobplaneError, Refused, Unavailable
from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.jobs import MAX_PAYLOAD_BYTES
from jobplane.worker.command_bus import ISSUER, CommandBus, Flight, Group, groups

DEFAULT_TIMEOUT_S: Final = 30.0
_EXPIRES: Final = timedelta(hours=1)
_AT_ONCE: Final = 4
"""Batches under way: as many commands as the jobs service takes before it must acknowledge some."""
_BREATH: Final = 500
_NAMESPACE: Final = UUID("0d0c53a4-52f1-5c3b-8a51-6a6f62706c61")


class InvalidJob(JobplaneError, ValueError):
    """A job that nobody can accept; nothing of its call was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to enqueue; limits are those of `contracts.commands.CreateJob`."""

    kind: str
    """Which handler runs it."""
    payload: Mapping[str, Any] = field(default_factory=dict)
    """JSON of at most 256 KiB; models, dataclasses, dates and UUIDs are turned into it."""
    key: str | None = None
    """Names this job among all that producers of this name ever enqueue: the same key and job are enqueued once."""
    queue: str = "default"
    """Where workers look for it."""
    priority: int = 0
    """Higher runs first."""
    run_at: datetime | None = None
    """Not before this instant; at once if left out."""
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    """How many attempts it may take."""
    timeout: timedelta | None = None
    """How long one run may take."""
    tags: Sequence[str] = ()
    """Words to find it by."""
    unique_key: str | None = None
    """At most one PENDING or RUNNING job of this kind has it."""
    asset: str | None = None
    """The id of an uploaded file."""


@dataclass(frozen=True, slots=True)
class EnqueuedJob:
    """A job that is in the journal."""

    id: JobId
    """The job; for a repeated key, or a taken unique key, the one that was there before."""
    command_id: CommandId
    """The command that asked for it."""
    position: int | None
    """Of its first event; none if another command had made it."""
    existed: bool
    """Whether it is the holder of the unique key, and nothing was enqueued."""


@dataclass(frozen=True, slots=True)
class NotEnqueued:
    """A job that was refused, or about which nothing was told in time."""

    command_id: CommandId
    """The command that asked for it."""
    code: str
    """The refusal's code; `not_decided` (kept by the bus: it will be) or `not_accepted` (perhaps not even kept)."""
    detail: str
    """One sentence for people."""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the caller may need to go on."""
    refused: bool = False
    """Whether that is final; otherwise enqueue it again with the same key."""

    def error(self) -> Refused | Unavailable:
        """The same as an error."""
        if self.refused:
            return Refused(self.code, self.detail, self.facts)
        return Unavailable(self.detail, code=self.code)


Outcome = EnqueuedJob | NotEnqueued


class Producer:
    """Enqueues jobs as the NATS user `producer`; use one for the whole process, from one event loop."""

    def __init__(self, commands: CommandBus, name: str) -> None:
        self._commands = commands
        self._actor = agent(name)

    @classmethod
    @asynccontextmanager
    async def connect(cls, nats_url: str, *, name: str = ISSUER) -> AsyncIterator[Self]:
        """A producer while the block lasts; `name` stands in history and audit as who created the jobs.

        Raises:
            Unavailable: the bus does not answer, or refuses the credentials.
        """
        nc = await bus.connect(nats_url, user=ISSUER, name=f"{ISSUER} {name}")
        try:
            commands = CommandBus(nc)
            await commands.start()
            yield cls(commands, name)
        finally:
            await bus.close(nc)

    async def enqueue(
        self,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        **options: Any,  # noqa: ANN401 - the fields of `NewJob`, which checks them
    ) -> EnqueuedJob:
        """Enqueue one job; `options` are the fields of `NewJob`. It is in the journal when this returns.

        Concurrent calls share their way through the bus.

        Raises:
            InvalidJob: it cannot be a job; nothing was sent.
            Refused: it was refused.
            Unavailable: nothing was told within `timeout_s`; it may still be enqueued within the hour.
        """
        job = NewJob(kind=kind, payload=payload or {}, **options)
        [outcome] = await self.enqueue_many([job], timeout_s=timeout_s)
        if isinstance(outcome, NotEnqueued):
            raise outcome.error()
        return outcome

    async def enqueue_many(self, jobs: Sequence[NewJob], *, timeout_s: float = DEFAULT_TIMEOUT_S) -> list[Outcome]:
        """Enqueue jobs, in this order; gives what became of each. Repeats what is not answered until `timeout_s`.

        Jobs travel in batches of up to 1,000, each kept as a whole or not at all; there is no cap on their sum.

        Raises:
            InvalidJob: one of them cannot be a job, or two have the same key; nothing was sent.
        """
        commands = await self._commands_for(jobs)
        deadline = asyncio.get_running_loop().time() + timeout_s
        turn = asyncio.Semaphore(_AT_ONCE)
        outcomes: list[Outcome] = []
        async with asyncio.TaskGroup() as tasks:
            settling = [tasks.create_task(self._settle(group, deadline, turn)) for group in groups(commands)]
        for task in settling:
            outcomes += task.result()
        return outcomes

    async def _settle(self, group: Group, deadline: float, turn: asyncio.Semaphore) -> list[Outcome]:
        async with turn:
            obstacle = await self._commands.settle(group, deadline - asyncio.get_running_loop().time())
        return [_outcome(flight, obstacle) for flight in group.flights]

    async def _commands_for(self, jobs: Sequence[NewJob]) -> list[tuple[CommandId, bytes]]:
        correlation_id = new_id()
        expires_at = clock.now() + _EXPIRES
        commands = []
        for number, job in enumerate(jobs, start=1):
            commands.append(_command(job, self._actor, correlation_id, expires_at))
            if number % _BREATH == 0:
                await asyncio.sleep(0)  # others of this loop have work too
        if len({command_id for command_id, _ in commands}) < len(commands):
            raise InvalidJob("two jobs of one call have the same key")
        return commands


def _command(job: NewJob, actor: Actor, correlation_id: str, expires_at: datetime) -> tuple[CommandId, bytes]:
    """The id and the text of the command that creates a job."""
    try:
        command = _creation(job)
    except (ValidationError, PydanticSerializationError) as error:
        raise InvalidJob(_plain(error)) from error
    digest = None
    command_id = CommandId(new_id())
    if job.key is not None:
        command_id = CommandId(str(uuid5(_NAMESPACE, f"{actor.id}\n{job.key}")))
        # Another attempt has another job id: the wish is the same.
        digest = hashlib.sha256(command.model_dump_json(exclude={"job_id"}).encode()).hexdigest()
    message = CommandMessage(
        command_id=command_id,
        actor=actor,
        correlation_id=correlation_id,
        expires_at=expires_at,
        body_digest=digest,
        command=command,
    )
    body = message.model_dump_json(exclude_none=True).encode()
    if len(body) > MAX_PAYLOAD_BYTES and len(to_json(command.payload)) > MAX_PAYLOAD_BYTES:
        raise InvalidJob(f"the payload has more than {MAX_PAYLOAD_BYTES // 1024} KiB: store it elsewhere, send where")
    return command_id, body


def _creation(job: NewJob) -> CreateJob:
    payload = job.payload if type(job.payload) is dict else dict(job.payload)
    told: dict[str, Any] = {
        "job_id": JobId(new_id()),
        "kind": job.kind,
        "payload": payload,
        "queue": job.queue,
        "priority": job.priority,
        "run_at": job.run_at,
        "max_attempts": job.max_attempts,
        "timeout_ms": None if job.timeout is None else round(job.timeout / timedelta(milliseconds=1)),
        "tags": list(job.tags),
        "unique_key": job.unique_key,
        "asset": job.asset,
    }
    try:
        return CreateJob.model_validate(told)
    except ValidationError:
        # Perhaps it is only not plain JSON yet.
        return CreateJob.model_validate(told | {"payload": _plain_json(payload)})


def _plain_json(payload: Mapping[str, Any]) -> dict[str, JsonValue]:
    plain: dict[str, JsonValue] = from_json(to_json(payload))
    return plain


def _plain(error: ValidationError | PydanticSerializationError) -> str:
    """What is wrong, without the values: they may be secret."""
    if isinstance(error, PydanticSerializationError):
        return f"the payload is no JSON: {error}"
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
        for problem in error.errors(include_input=False)
    )


def _outcome(flight: Flight, obstacle: str) -> Outcome:
    told = flight.outcome
    if told is None:
        code = "not_decided" if flight.accepted else "not_accepted"
        return NotEnqueued(flight.command_id, code, f"It is not known whether the job is enqueued: {obstacle}.")
    if told.status == "done" and told.job_id is not None:
        return EnqueuedJob(told.job_id, told.command_id, told.position, told.code == "already_exists")
    detail = told.detail or "The job was refused."
    return NotEnqueued(told.command_id, told.code or "refused", detail, told.facts, refused=True)
