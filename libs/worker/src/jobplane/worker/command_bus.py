"""Commands of a producer on their way: published in atomic batches, repeated until their outcomes are told."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from pydantic import Field, JsonValue, ValidationError

from jobplane.chassis import tracing
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.chassis.micro_batch import MicroBatch
from jobplane.contracts import subjects
from jobplane.contracts.envelope import REPLY_TO, TRACEPARENT
from jobplane.contracts.ids import CommandId, JobId, Position
from jobplane.contracts.message import Fact
from jobplane.worker.pauses import Pauses

log = structlog.get_logger(__name__)

ISSUER: Final = "producer"
MAX_BATCH: Final = 1000
"""The most messages that JetStream takes as one."""
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
_MOST_SINGLES: Final = 16
"""A command has 256 KiB at most, so these are one batch too."""
_ACCEPT_S: Final = 2.0
_REPEAT_S: Final = 10.0
"""An accepted command waits for the database, if for anything: repeating it often would only fill the stream."""
_ATOMIC_DISABLED: Final = 10174
_SUBJECT: Final = subjects.job_command(ISSUER, "create")


class Told(Fact):
    """What a producer reads of a `CommandOutcome`: all but the job, which it knows."""

    command_id: CommandId
    """The command."""
    status: str
    """`done` or `refused`."""
    code: str | None = None
    """Why it was refused, or `already_exists`."""
    detail: str | None = None
    """One sentence for people."""
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    """What the caller may need to go on."""
    job_id: JobId | None = None
    """The job."""
    position: Position | None = None
    """Of the event that it caused."""


@dataclass(slots=True, eq=False)
class Flight:
    """One command between being sent and its outcome."""

    command_id: CommandId
    body: bytes
    group: "Group"
    accepted: bool = False
    """Whether the stream keeps it."""
    outcome: Told | None = None


class Group:
    """Commands that are sent, and waited for, together."""

    def __init__(self) -> None:
        self.flights: list[Flight] = []
        self.missing = 0
        self.changed = asyncio.Event()
        """Set by the last outcome, and by a reconnect: commands or outcomes may have been lost with the connection."""
        self.obstacle = "another call with the same key is under way"
        """What stands between it and its outcomes now, for people; what was overcome is forgotten."""

    def add(self, command_id: CommandId, body: bytes) -> None:
        """One command more."""
        self.flights.append(Flight(command_id, body, self))
        self.missing += 1

    @property
    def waiting(self) -> list[Flight]:
        """Those without an outcome."""
        return [flight for flight in self.flights if flight.outcome is None]


class CommandBus:
    """Sends commands over one connection; one inbox serves all outcomes."""

    def __init__(self, nc: Connection) -> None:
        self._nc = nc
        self._inbox = nc.new_inbox()
        self._flights: dict[str, Flight] = {}
        self._groups: dict[Group, None] = {}
        self._landed = asyncio.Condition()
        self._singles: MicroBatch[Flight, None] = MicroBatch(self._publish, name="producer", most=_MOST_SINGLES)
        self._atomic = True

    async def start(self) -> None:
        """Listen for outcomes."""
        await self._nc.subscribe_sink(self._inbox, self._answered)
        self._nc.add_reconnect_listener(self._reconnected)

    async def settle(self, group: Group, timeout_s: float) -> str:
        """Send a group until all of it is decided or the time is over; gives what stood in the way, for people."""
        try:
            async with asyncio.timeout(timeout_s), self._turn(group):
                await self._repeat(group)
        except TimeoutError:
            return group.obstacle
        return ""

    @asynccontextmanager
    async def _turn(self, group: Group) -> AsyncIterator[None]:
        """Begins when none of these commands is under way: an outcome names its command and nothing else."""
        async with self._landed:
            await self._landed.wait_for(lambda: all(one.command_id not in self._flights for one in group.flights))
            self._flights |= {flight.command_id: flight for flight in group.flights}
        self._groups[group] = None
        try:
            yield
        finally:
            del self._groups[group]
            for flight in group.flights:
                self._flights.pop(flight.command_id, None)
            async with self._landed:
                self._landed.notify_all()

    async def _repeat(self, group: Group) -> None:
        pauses = Pauses()
        group.obstacle = "the bus does not say that it keeps them"
        while group.missing:
            group.changed.clear()
            try:
                waiting = group.waiting
                if len(waiting) == 1:
                    await self._singles.submit(waiting[0])
                else:
                    await self._publish(waiting)
            except _NotKept as error:
                group.obstacle = str(error)
                log.info("producer.not_accepted", detail=group.obstacle)
                await pauses.pause()
                continue
            group.obstacle = "no outcome was told in time"
            with suppress(TimeoutError):
                async with asyncio.timeout(_REPEAT_S):
                    if group.missing:
                        await group.changed.wait()

    async def _publish(self, flights: Sequence[Flight]) -> list[None]:
        """Have the stream keep these commands.

        Raises:
            _NotKept: it did not say that it keeps all of them.
        """
        if self._atomic and len(flights) > 1:
            await self._publish_atomically(flights)
        if not self._atomic or len(flights) == 1:
            verdicts = await asyncio.gather(*(self._request(one, {}) for one in flights), return_exceptions=True)
            for verdict in verdicts:
                if isinstance(verdict, BaseException):
                    raise verdict
        for flight in flights:
            flight.accepted = True
        return [None] * len(flights)

    async def _publish_atomically(self, batch: Sequence[Flight]) -> None:
        """One message after the other; the last is answered for all of them, after one fsync."""
        name = new_id()
        try:
            for number, flight in enumerate(batch[:-1], start=1):
                place = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
                await self._nc.publish(_SUBJECT, flight.body, headers=self._headers() | place)
        except (NatsError, OSError) as error:
            raise _NotKept(f"the bus is away: {error}") from error
        place = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(len(batch)), "Nats-Batch-Commit": "1"}
        try:
            await self._request(batch[-1], place)
        except _NotKept as error:
            if error.code != _ATOMIC_DISABLED:
                raise
            # A stream of an older version, which nobody alters on the way.
            log.warning("producer.no_atomic_batches", detail="publishing one by one: about ten times slower")
            self._atomic = False

    async def _request(self, flight: Flight, place: dict[str, str]) -> None:
        headers = self._headers() | place
        try:
            reply = await self._nc.request(_SUBJECT, flight.body, _ACCEPT_S, headers=headers)
        except NoRespondersError as error:
            raise _NotKept("the stream of commands is away") from error
        except (NatsError, OSError, TimeoutError) as error:
            raise _NotKept(f"the bus does not answer: {str(error) or type(error).__name__}") from error
        refused: dict[str, Any] | None = json.loads(reply.data).get("error")
        if refused is not None:
            raise _NotKept(str(refused.get("description", refused)), int(refused.get("err_code", 0)))

    def _headers(self) -> dict[str, str]:
        return {REPLY_TO: self._inbox, TRACEPARENT: tracing.current_traceparent()}

    def _answered(self, _subject: str, _reply: str, _headers: dict[str, str] | None, body: bytes) -> None:
        try:
            told = Told.model_validate_json(body)
        except ValidationError:
            log.exception("producer.outcome_unreadable")
            return
        flight = self._flights.get(told.command_id)
        if flight is None or flight.outcome is not None:
            return
        flight.outcome = told
        flight.group.missing -= 1
        if flight.group.missing == 0:
            flight.group.changed.set()

    async def _reconnected(self) -> None:
        for group in self._groups:
            group.changed.set()


class _NotKept(Exception):
    """The stream did not say that it keeps what was published; `str(error)` says why."""

    def __init__(self, detail: str, code: int = 0) -> None:
        super().__init__(detail)
        self.code = code


def groups(commands: Iterable[tuple[CommandId, bytes]]) -> Iterator[Group]:
    """Commands in order, cut so that each group fits into one atomic batch."""
    group, size = Group(), 0
    for command_id, body in commands:
        if group.missing and (group.missing == MAX_BATCH or size + len(body) > MAX_BATCH_BYTES):
            yield group
            group, size = Group(), 0
        group.add(command_id, body)
        size += len(body)
    if group.missing:
        yield group
