"""The gateway's side of the bus: commands into the CMD stream, their outcomes back, and questions to services."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import structlog
from nats.errors import Error as NatsError
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import from_json

from jobplane.chassis import metrics, tracing
from jobplane.chassis.bus import Connection
from jobplane.contracts import subjects
from jobplane.contracts.envelope import REPLY_TO, TRACEPARENT, CommandMessage, CommandOutcome
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.queries import Nothing

log = structlog.get_logger()

ISSUER: Final = "gateway"
_ACCEPT_S: Final = 2.0
"""How long the stream may take to say that it keeps a command."""
_QUERY_S: Final = 2.0
_NO_RESPONDERS: Final = "503"

T = TypeVar("T", bound=BaseModel)


class NotAccepted(Unavailable):
    """Nobody confirmed that the command is kept. It may be, though: the same Idempotency-Key asks safely again."""

    def __init__(self, detail: str, *, certain: bool) -> None:
        super().__init__(detail, code="not_accepted")
        self.certain = certain
        """Whether the command surely was not kept."""
        self.facts: dict[str, JsonValue] = {}
        """What the caller may need to find out."""


class _Flight:
    """One command between publishing and what its sender is told."""

    __slots__ = ("_loop", "_timer", "accepted", "begun", "told", "wait_s")

    def __init__(self, wait_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.begun = self._loop.time()
        self.wait_s = wait_s
        self.accepted = False
        self.told: asyncio.Future[CommandOutcome | None] = self._loop.create_future()
        self._timer = self._loop.call_at(self.begun + _ACCEPT_S, self.hurry)

    @property
    def seconds(self) -> float:
        """How long it has been under way."""
        return self._loop.time() - self.begun

    def accept(self) -> None:
        """The stream keeps the command: from now on only its outcome is waited for."""
        if self.accepted or self.told.done():
            return
        self.accepted = True
        if self.wait_s <= 0:
            self.told.set_result(None)
        elif self.wait_s != _ACCEPT_S:
            self._timer.cancel()
            self._timer = self._loop.call_at(self.begun + self.wait_s, self.hurry)

    def decide(self, outcome: CommandOutcome) -> None:
        """What is decided was accepted, whether or not the stream has said so."""
        self.accept()
        if not self.told.done():
            self.told.set_result(outcome)

    def refuse(self, detail: str) -> None:
        """The stream does not keep the command."""
        if not self.accepted and not self.told.done():
            self.told.set_exception(NotAccepted(detail, certain=True))

    def end(self) -> None:
        """Nobody waits any more."""
        self._timer.cancel()

    def hurry(self) -> None:
        """Do not wait any longer: what is accepted is decided without us."""
        if self.told.done():
            return
        if self.accepted:
            self.told.set_result(None)
            return
        detail = "The command was not confirmed in time. Ask again with the same Idempotency-Key."
        self.told.set_exception(NotAccepted(detail, certain=False))


class ControlBus:
    """Sends commands and asks queries over one connection; one inbox serves all answers."""

    def __init__(self, nc: Connection) -> None:
        self._nc = nc
        self._inbox = nc.new_inbox()
        self._flights: dict[str, _Flight] = {}
        self._count = 0
        self._hurried = False
        self._unsubscribe: Callable[[], Awaitable[None]] | None = None

    @property
    def connected(self) -> bool:
        """Whether the bus is there."""
        return self._nc.is_connected

    @property
    def in_flight(self) -> int:
        """Commands that somebody waits for."""
        return len(self._flights)

    async def start(self) -> None:
        """Listen for answers."""
        self._unsubscribe = await self._nc.subscribe_sink(f"{self._inbox}.*.*", self._answered)

    async def stop(self) -> None:
        """Stop listening. Requests have ended before: nobody waits any more."""
        if self._unsubscribe is not None and not self._nc.is_closed:
            await self._unsubscribe()

    def hurry(self) -> None:
        """The end is near: nobody waits for an outcome any longer, all are told to ask for it."""
        self._hurried = True
        for flight in tuple(self._flights.values()):
            flight.hurry()

    async def send(self, message: CommandMessage, *, wait_s: float) -> CommandOutcome | None:
        """Have a command decided; none if it is accepted but not decided within `wait_s` seconds (0: do not wait).

        Raises:
            NotAccepted: the stream did not confirm that it keeps the command.
        """
        self._count += 1
        number = f"{self._count:x}"
        flight = self._flights[number] = _Flight(0 if self._hurried else wait_s)
        try:
            await self._publish(message, number)
            outcome = await flight.told
        finally:
            flight.end()
            del self._flights[number]
        if outcome is not None:
            _timed(message.command.type)(flight.seconds)
        return outcome

    async def _publish(self, message: CommandMessage, number: str) -> None:
        subject = subjects.job_command(ISSUER, message.command.type)
        headers = {REPLY_TO: f"{self._inbox}.{number}.o", TRACEPARENT: tracing.current_traceparent()}
        try:
            await self._nc.publish(subject, message.model_dump_json().encode(), f"{self._inbox}.{number}.a", headers)
        except (NatsError, OSError) as error:
            detail = "Commands cannot be accepted just now: the bus is away. Try again in a moment."
            raise NotAccepted(detail, certain=True) from error

    def _answered(self, subject: str, _reply: str, headers: dict[str, str] | None, body: bytes) -> None:
        _, number, what = subject.rsplit(".", 2)
        flight = self._flights.get(number)
        if flight is None:
            return
        if what == "a":
            _acknowledged(flight, headers, body)
            return
        try:
            outcome = CommandOutcome.model_validate_json(body)
        except ValidationError:
            log.exception("outcome.unreadable", subject=subject)
            return
        flight.decide(outcome)

    async def ask(self, service: str, name: str, request: BaseModel, reply_type: type[T]) -> T:
        """Ask another service.

        Raises:
            Refused: it says no. Unavailable: it does not answer.
        """
        return reply_type.model_validate(await self.ask_raw(service, name, request))

    async def ask_raw(
        self, service: str, name: str, request: BaseModel | None = None, *, timeout_s: float = _QUERY_S
    ) -> dict[str, Any]:
        """Ask another service; plain JSON values, not checked again: it made them from the same contract.

        Raises:
            Refused: it says no. Unavailable: it does not answer.
        """
        body = (request or Nothing()).model_dump_json(exclude_defaults=True).encode()
        headers = {TRACEPARENT: tracing.current_traceparent()}
        try:
            message = await self._nc.request(subjects.query(service, name), body, timeout_s, headers=headers)
        except (NatsError, OSError, TimeoutError) as error:
            detail = f"The {service} service does not answer just now. Try again in a moment."
            raise Unavailable(detail) from error
        reply: dict[str, Any] = from_json(message.data)
        problem = reply.get("problem")
        if problem is not None:
            raise _raised(problem)
        ok: dict[str, Any] = reply["ok"]
        return ok


@functools.cache
def _timed(verb: str) -> Callable[[float], None]:
    return metrics.histogram("jobplane_command_seconds").labels(verb).observe


def _raised(problem: dict[str, Any]) -> Refused | Unavailable:
    code, detail, facts = problem["code"], problem["detail"], problem.get("facts") or {}
    retry_after_s = facts.get("retry_after_s")
    if isinstance(retry_after_s, int):
        return Unavailable(detail, code=code, retry_after_s=retry_after_s)
    return Refused(code, detail, facts)


def _acknowledged(flight: _Flight, headers: dict[str, str] | None, body: bytes) -> None:
    """The stream, or the server in its place, has said whether it keeps the command."""
    if headers is not None and headers.get("Status") == _NO_RESPONDERS:
        flight.refuse("Commands cannot be accepted just now: their stream is away. Try again in a moment.")
        return
    error = from_json(body).get("error")
    if error is None:
        flight.accept()
    else:
        why = error.get("description", "refused")
        flight.refuse(f"Commands cannot be accepted just now ({why}). Try again in a moment.")
