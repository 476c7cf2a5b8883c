"""A bus in memory: core NATS that may lose messages, and the work queue CMD that delivers until it is acknowledged."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from nats.errors import TimeoutError as NatsTimeoutError

from jobplane.chassis.wire import Sink
from jobplane.contracts.topology import JOBS_INTAKE
from tests.simulation.faults import Faults
from tests.simulation.loop import PROCESS, Process

_NEXT: Final = f"$JS.API.CONSUMER.MSG.NEXT.{JOBS_INTAKE.stream}.{JOBS_INTAKE.name}"
_ACK: Final = "$JS.ACK."
_DEAD: Final = "dlq."

Headers = Mapping[str, str]


@dataclass(slots=True)
class Message:
    """What a subscription gets."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Headers | None = None


Callback = Callable[[Message], Awaitable[None]]


@dataclass(eq=False, slots=True)
class Subscription:
    """A wish to hear a subject, or all that are one word longer (`*`), of one process."""

    bus: "MemoryBus"
    process: Process
    subject: str
    queue: str
    callback: Callback
    busy_until: dict[Process, float] = field(default_factory=dict)
    """Messages of one sender arrive in their order."""

    async def unsubscribe(self) -> None:
        self.bus.subscriptions.discard(self)


@dataclass(slots=True)
class _Command:
    """A message of the work queue."""

    number: int
    message: Message
    deliveries: int = 0
    due: float = 0.0
    """When it is delivered again, unless it is acknowledged."""


class MemoryBus:
    """All connections' other side."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.subscriptions = _Subscriptions()
        self.server = Process("bus")
        self.commands: dict[int, _Command] = {}
        """Not acknowledged yet."""
        self.dead: list[Message] = []
        self._pulls: deque[tuple[str, int]] = deque()
        self._numbers = count(1)

    def send(self, message: Message) -> None:
        """Core NATS: everybody who listens gets it, but of a queue group only one; or it is lost."""
        groups: dict[str, list[Subscription]] = {}
        for one in self.subscriptions.of(message.subject):
            groups.setdefault(one.queue or f"alone {id(one)}", []).append(one)
        for members in groups.values():
            if not self.faults.happens(self.faults.lost_message):
                self._deliver(members[int(self.faults.dice.random() * len(members))], message)

    def _deliver(self, to: Subscription, message: Message) -> None:
        loop = asyncio.get_running_loop()
        sender = PROCESS.get()
        at = max(to.busy_until.get(sender, 0.0), loop.time() + self.faults.delay_s())
        to.busy_until[sender] = at
        loop.call_at(at, _hear, to, message, context=to.process.context.copy())

    # JetStream.

    def enqueue(self, subject: str, data: bytes, headers: Headers) -> None:
        """Store a command."""
        number = next(self._numbers)
        self.commands[number] = _Command(number, Message(subject, data, f"{_ACK}{number}", headers))
        self.hand_out()

    def pull(self, request: bytes, inbox: str) -> None:
        """A consumer asks for messages."""
        self._pulls.append((inbox, json.loads(request)["batch"]))
        self.hand_out()

    def acknowledge(self, reply: str, word: bytes) -> None:
        """A consumer tells what it did with a message."""
        command = self.commands.get(int(reply.removeprefix(_ACK)))
        if command is None:
            return
        if word == b"+WPI":
            self._wait(command)
        elif not self.faults.happens(self.faults.doubled_command):
            del self.commands[command.number]

    def hand_out(self) -> None:
        """Give every message that is due to whoever asked first."""
        now = asyncio.get_running_loop().time()
        for command in list(self.commands.values()):
            if command.due <= now and (to := self._next_pull()) is not None:
                command.deliveries += 1
                self._wait(command)
                self._deliver(to, command.message)

    def _wait(self, command: _Command) -> None:
        """It comes again when nobody acknowledges it in time."""
        backoff = JOBS_INTAKE.backoff
        wait_s = backoff[min(command.deliveries, len(backoff)) - 1].total_seconds()
        loop = asyncio.get_running_loop()
        command.due = loop.time() + wait_s
        loop.call_at(command.due, self.hand_out, context=self.server.context)

    def _next_pull(self) -> Subscription | None:
        """Whoever asked gets messages in turn, as nats-server deals them."""
        while self._pulls:
            inbox, left = self._pulls.popleft()
            listeners = self.subscriptions.of(inbox)
            if left and listeners:
                self._pulls.append((inbox, left - 1))
                return listeners[0]
        return None


class _Subscriptions:
    """Who hears what, in the order of subscribing."""

    def __init__(self) -> None:
        self._by_subject: dict[str, list[Subscription]] = {}

    def add(self, one: Subscription) -> None:
        self._by_subject.setdefault(one.subject, []).append(one)

    def discard(self, one: Subscription) -> None:
        self._by_subject[one.subject].remove(one)
        if not self._by_subject[one.subject]:
            del self._by_subject[one.subject]

    def of(self, subject: str) -> list[Subscription]:
        """Those that hear a subject and whose process lives: a dead one's connection is closed."""
        wild = f"{subject.rpartition('.')[0]}.*"
        both = (*self._by_subject.get(subject, ()), *self._by_subject.get(wild, ()))
        return [one for one in both if one.process.alive]


def _hear(to: Subscription, message: Message) -> None:
    """Callbacks of the product never wait, so they need no task."""
    coroutine = to.callback(message).__await__()
    try:
        next(coroutine)
    except StopIteration:
        return
    raise RuntimeError(f"the callback for {to.subject} waits")


class MemoryNats:
    """One process's connection: the part of `chassis.bus.Connection` that the product uses."""

    is_connected = True
    is_closed = False
    max_payload = 1024 * 1024
    """In bytes, as the servers of the product have it."""

    def __init__(self, bus: MemoryBus, user: str) -> None:
        self._bus = bus
        self._user = user

    def new_inbox(self) -> str:
        """A subject that nobody else hears."""
        return f"_INBOX_{self._user}.{next(self._bus._numbers)}"

    async def publish(self, subject: str, data: bytes = b"", reply: str = "", headers: Headers | None = None) -> None:
        """Send, without knowing whether it arrives."""
        bus = self._bus
        if subject.startswith(_ACK):
            bus.acknowledge(subject, data)
        elif subject == _NEXT:
            bus.pull(data, reply)
        else:
            bus.send(Message(subject, data, reply, headers))

    async def publish_all(self, messages: Iterable[tuple[str, dict[str, str] | None, bytes]]) -> None:
        """Send many at once."""
        for subject, headers, data in messages:
            await self.publish(subject, data, headers=headers)

    async def subscribe(self, subject: str, queue: str = "", cb: Callback | None = None) -> Subscription:
        """Hear a subject."""
        if cb is None:
            raise NotImplementedError("only callbacks")
        subscription = Subscription(self._bus, PROCESS.get(), subject, queue, cb)
        self._bus.subscriptions.add(subscription)
        return subscription

    async def subscribe_sink(self, subject: str, sink: Sink) -> Callable[[], Awaitable[None]]:
        """Hear a subject; the returned function ends that."""

        async def hear(message: Message) -> None:
            sink(message.subject, message.reply, dict(message.headers) if message.headers else None, message.data)

        return (await self.subscribe(subject, cb=hear)).unsubscribe

    async def request(
        self, subject: str, data: bytes = b"", timeout: float = 1.0, headers: Headers | None = None
    ) -> Message:
        """Ask and wait for the answer.

        Raises:
            nats.errors.TimeoutError: none came in time.
        """
        if subject.startswith(_DEAD):
            await asyncio.sleep(self._bus.faults.delay_s())
            self._bus.dead.append(Message(subject, data, headers=headers))
            return Message(subject, b'{"stream":"DLQ","seq":1}')
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def hear(message: Message) -> None:
            if not answer.done():
                answer.set_result(message)

        inbox = self.new_inbox()
        subscription = await self.subscribe(inbox, cb=hear)
        try:
            await self.publish(subject, data, inbox)
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise NatsTimeoutError from None
        finally:
            await subscription.unsubscribe()
