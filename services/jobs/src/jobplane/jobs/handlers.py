"""Commands from the bus: read, settled in the ledger, answered to whoever waits.

What cannot be read goes to the dead letters.
"""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

import structlog
from nats.errors import Error as NatsError
from pydantic import ValidationError

from jobplane.chassis import tracing
from jobplane.chassis.bus import Connection
from jobplane.chassis.intake import Delivery
from jobplane.chassis.journal import HALTED
from jobplane.contracts.actors import ActorKind
from jobplane.contracts.commands import AnyCommand, AnyDirective, CreateJob, EditJob
from jobplane.contracts.envelope import REPLY_TO, TRACEPARENT, CommandMessage, CommandOutcome
from jobplane.contracts.errors import InvalidMessage, Unavailable
from jobplane.contracts.jobs import MAX_PAYLOAD_BYTES, JobView
from jobplane.contracts.subjects import inbox_prefix, issuer_of
from jobplane.jobs import bodies, outcomes
from jobplane.jobs.decider import Accepted, Rejected
from jobplane.jobs.leases import Leases
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.read_model import ReadModel, outcome, view
from jobplane.jobs.redaction import BY_DEFAULT, MARK, Redaction
from jobplane.jobs.wishes import Cause, Delivered, Directive, Settled, Wish

log = structlog.get_logger()

_HUMAN_ISSUER: Final = "gateway"
CarryOut = Callable[[Directive], Awaitable[Stored]]
_LONGEST_INBOX: Final = 256
"""The server cuts off whoever publishes to a subject of some thousand characters, with all that is on its way."""
_MARK: Final = MARK.encode()
PAYLOAD_REDACTED: Final = Rejected(
    "payload_redacted",
    f'This payload has "{MARK}" where a secret belongs, as people see it: write the secret there, or reveal it first.',
)
"""Nobody replaces a secret by what is shown in its place."""
_SPEAKS_FOR: Final[Mapping[str, Collection[ActorKind]]] = {
    _HUMAN_ISSUER: tuple(ActorKind),
    "health": (ActorKind.SYSTEM,),
    "producer": (ActorKind.AGENT,),
}
"""Whom an issuer may name as the actor of its commands: nobody pretends to be a person, a worker or the system."""


@dataclass(slots=True)
class _Read:
    """A delivery that could be read."""

    asked: Wish | Directive
    reply_to: str | None
    traceparent: str | None
    shows_job: bool
    """Whoever asked shows the job to people: its outcome tells it whole."""

    def begin(self, spans: ExitStack) -> None:
        """Begin the span of the decision, in the trace of the request; what it causes continues it."""
        verb = self.asked.delivered.verb if self.asked.delivered else "?"
        parent = self.traceparent or ""  # none of its own: not a child of the command before it in the batch
        span = spans.enter_context(tracing.span(f"decide {verb}", traceparent=parent, kind=tracing.Kind.CONSUMER))
        self.asked.cause = replace(self.asked.cause, traceparent=span.traceparent)


class CommandHandler:
    """Settles command deliveries in micro-batches; see `chassis.intake.Handle`."""

    def __init__(
        self,
        ledger: Ledger,
        leases: Leases,
        read_model: ReadModel,
        nc: Connection,
        carry_out: CarryOut,
        redaction: Redaction = BY_DEFAULT,
    ) -> None:
        self._redaction = redaction
        self._ledger = ledger
        self._carry_out = carry_out
        self._leases = leases
        self._read_model = read_model
        self._nc = nc

    async def __call__(self, deliveries: Sequence[Delivery]) -> list[InvalidMessage | None]:
        """Settle and answer; gives for each delivery why it is poison, or None."""
        read: list[_Read] = []
        verdicts: list[InvalidMessage | None] = []
        for delivery in deliveries:
            try:
                read.append(_read(delivery, self._redaction))
                verdicts.append(None)
            except InvalidMessage as error:
                verdicts.append(error)
        if read:
            try:
                with ExitStack() as spans:
                    for item in read:
                        item.begin(spans)
                    await self._decide(read)
            except Unavailable as error:
                if error.code != HALTED:
                    raise
                return await self._turn_away(read, verdicts, error)
        return verdicts

    async def once_more(self, delivery: Delivery) -> CommandOutcome:
        """Decide one command that had been given up; nobody is answered but the caller.

        Raises:
            InvalidMessage: it is poison. Unavailable: it cannot be decided just now.
        """
        item = _read(delivery, self._redaction)
        with ExitStack() as spans:
            item.begin(spans)
            if isinstance(item.asked, Directive):
                stored = await self._carry_out(item.asked)
            else:
                [settled] = await self._settle([item.asked])
                stored = outcomes.of(settled)
        if item.asked.delivered is None:
            raise AssertionError
        return outcome(item.asked.delivered.command_id, stored, None)

    async def _decide(self, read: Sequence[_Read]) -> None:
        """Those about jobs in one transaction, the others one by one."""
        wishes = [(item, item.asked) for item in read if isinstance(item.asked, Wish)]
        if wishes:
            settled = await self._settle([wish for _, wish in wishes])
            await self._answer([item for item, _ in wishes], settled)
        for item in read:
            if isinstance(item.asked, Directive):
                await self._send([(item, await self._carry_out(item.asked), None)])

    async def _settle(self, wishes: Sequence[Wish]) -> list[Settled]:
        """Settle; workers that wait for jobs made here get them in the same transaction."""
        with self._leases.promising(wishes) as promises:
            settled = await self._ledger.settle(wishes, promises.leases)
            promises.keep(settled[len(wishes) :])
        return settled[: len(wishes)]

    async def _turn_away(
        self, read: Sequence[_Read], verdicts: Sequence[InvalidMessage | None], halted: Unavailable
    ) -> list[InvalidMessage | None]:
        """While writes are halted: tell whoever waits that nothing was done, and put all of it among the dead letters.

        Nothing stays in the queue, so nothing happens by itself long after its caller was told that it did not; nothing
        is lost, because a caller that was told "accepted" no longer listens.
        """
        refused = Stored(None, "refused", halted.code, halted.detail)
        await self._send((item, refused, None) for item in read)
        return [verdict or InvalidMessage(halted.detail) for verdict in verdicts]

    async def _answer(self, read: Sequence[_Read], settled: Sequence[Settled]) -> None:
        """Tell whoever waits, and people also the jobs as they are now, in one read; one just created need not be read.

        Nobody may wait: an answer is not an obligation.
        """
        waiting = [(item, one) for item, one in zip(read, settled, strict=True) if item.reply_to]
        outcomes_told = await self._read_model.explained([outcomes.of(one) for _, one in waiting])
        asked = [(item, one, told) for (item, one), told in zip(waiting, outcomes_told, strict=True)]
        shown = [(one, told) for item, one, told in asked if item.shows_job]
        created = (_created(one, self._redaction) for one, _ in shown)
        views: dict[str, JobView] = {job.id: job for job in created if job is not None}
        unknown = [told.job_id for _, told in shown if told.job_id and told.job_id not in views]
        if unknown:
            views |= await self._read_model.views(unknown)
        await self._send([(item, told, views.get(told.job_id or "")) for item, _, told in asked])

    async def _send(self, answers: Iterable[tuple[_Read, Stored, JobView | None]]) -> None:
        messages: list[tuple[str, None, bytes]] = []
        for item, stored, job in answers:
            if item.reply_to and item.asked.delivered:
                answer = outcome(item.asked.delivered.command_id, stored, job)
                messages.append((item.reply_to, None, answer.model_dump_json(exclude_none=True).encode()))
        try:
            await self._nc.publish_all(messages)
        except (NatsError, Unavailable) as error:
            log.info("command.not_answered", error=type(error).__name__)


def _created(settled: Settled, redaction: Redaction) -> JobView | None:
    """The job that a command just created, as everybody sees it."""
    command, held, body = settled.wish.command, settled.held, settled.wish.body
    if not isinstance(command, CreateJob) or not isinstance(settled.decision, Accepted) or held is None:
        return None
    if body is None:
        return view(held.job, held.position, None, {})
    payload = redaction.shown(command.payload) if redaction.may_hide(body.data) else command.payload
    return view(held.job, held.position, None, {body.ref: payload})


def _read(delivery: Delivery, redaction: Redaction) -> _Read:
    """The wish in a delivery.

    Raises:
        InvalidMessage: it is not a command, or its issuer may not say what it says.
    """
    try:
        message = CommandMessage.model_validate_json(delivery.data)
    except ValidationError as error:
        raise InvalidMessage(_plain(error)) from error
    issuer = issuer_of(delivery.subject)
    if message.actor.kind not in _SPEAKS_FOR.get(issuer, ()):
        msg = f"issuer {issuer} may not speak for a {message.actor.kind}"
        raise InvalidMessage(msg)
    if issuer != _HUMAN_ISSUER and (message.actor.role is not None or message.actor.origin is not None):
        msg = f"issuer {issuer} may not give its actor a role or an origin"
        raise InvalidMessage(msg)
    if delivery.subject.rsplit(".", 1)[1] != message.command.type:
        msg = f"a {message.command.type} command was sent as {delivery.subject}"
        raise InvalidMessage(msg)
    cause = Cause(message.actor, message.correlation_id, None, message.reason, message.causation_id)
    return _Read(
        _asked(message.command, cause, _delivered(message), redaction),
        _reply_to(delivery, issuer),
        delivery.headers.get(TRACEPARENT),
        issuer == _HUMAN_ISSUER,
    )


def _asked(command: AnyCommand, cause: Cause, delivered: Delivered, redaction: Redaction) -> Wish | Directive:
    if isinstance(command, AnyDirective):
        return Directive(command, cause, delivered)
    wish = Wish(command, cause, delivered=delivered)
    if isinstance(command, CreateJob | EditJob) and command.payload:
        wish.body = bodies.seal(wish.event_id, command.payload)
        if len(wish.body.data) > MAX_PAYLOAD_BYTES:
            msg = f"the payload is larger than {MAX_PAYLOAD_BYTES} bytes"
            raise InvalidMessage(msg)
        if _MARK in wish.body.data and redaction.marked(command.payload):
            wish.flaw = PAYLOAD_REDACTED
    return wish


def _delivered(message: CommandMessage) -> Delivered:
    return Delivered(
        command_id=message.command_id,
        verb=message.command.type,
        expires_at=message.expires_at,
        body_digest=message.body_digest or hashlib.sha256(message.command.model_dump_json().encode()).hexdigest(),
        expected_version=message.expected_version,
    )


def _reply_to(delivery: Delivery, issuer: str) -> str | None:
    """The inbox for the outcome, if it is one of the issuer's own: nobody makes us write elsewhere."""
    inbox = delivery.headers.get(REPLY_TO)
    if inbox is None or len(inbox) > _LONGEST_INBOX or not inbox.startswith(f"{inbox_prefix(issuer)}."):
        return None
    if any(mark in inbox for mark in "*> \t\r\n"):
        return None
    return inbox


def _plain(error: ValidationError) -> str:
    """What is wrong, without the values (they may be secret)."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'body'}: {problem['msg']}"
        for problem in error.errors(include_input=False)
    )
