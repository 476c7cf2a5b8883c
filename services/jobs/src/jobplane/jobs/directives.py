"""Commands about what is no job (queues, operations): each in a transaction of its own, decided once."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from pydantic import JsonValue

from jobplane.chassis import tracing
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, Transaction
from jobplane.chassis.new_events import NewEvent
from jobplane.contracts.commands import AnyDirective
from jobplane.contracts.operations import AnyOperationEvent
from jobplane.contracts.queues import AnyQueueEvent
from jobplane.jobs import outcomes
from jobplane.jobs.batch import refusal
from jobplane.jobs.decider import Rejected
from jobplane.jobs.ledger import Refusals, worth_repeating
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.reasons import BY_DEFAULT, REASON_REQUIRED, ReasonPolicy
from jobplane.jobs.wishes import Directive

log = structlog.get_logger()

_TRIES: Final = 5
_REMEMBER: Final = """
INSERT INTO command_outcome (command_id, body_digest, status, code, detail, facts, position)
VALUES (%s, %s, %s, %s, %s, %s::json, %s)
"""


AnyDirectiveEvent = AnyQueueEvent | AnyOperationEvent


@dataclass(frozen=True, slots=True)
class Ruling:
    """What happens because of a directive; whoever ruled has written the rows of it in the same transaction."""

    stream_id: str
    version: int
    """Of the stream before these events."""
    events: Sequence[AnyDirectiveEvent]
    """In the order of happening; none: there was nothing to do."""
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    """What the sender is told, and told again when it repeats the command."""
    wakes: Sequence[str] = ()
    """Queues where more jobs may start now."""


Rule = Callable[[Transaction, Directive, datetime], Awaitable[Ruling | Rejected]]
"""Locks what the directive is about, decides by the clock of the database, and writes the rows; see `LockOrder`."""
Heard = Callable[[Directive, Ruling], None]
"""Hears after the commit what happened."""


class Directives:
    """Carries out directives; `rules` says who decides about which."""

    def __init__(
        self,
        journal: Journal,
        refusals: Refusals,
        rules: Mapping[type[AnyDirective], Rule],
        after_commit: Heard = lambda _directive, _ruling: None,
        reasons: ReasonPolicy = BY_DEFAULT,
    ) -> None:
        self._reasons = reasons
        self._journal = journal
        self._refusals = refusals
        self._rules = rules
        self._after_commit = after_commit

    async def carry_out(self, directive: Directive) -> Stored:
        """Decide one directive, or find how it was decided before; a refusal is an outcome, too.

        Raises:
            Unavailable: the journal is halted.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                stored, ruling = await self._carry_out(directive)
            except Exception as error:
                if attempt == _TRIES or not worth_repeating(error):
                    raise
                log.info("directive.repeated", error=type(error).__name__, attempt=attempt)
                continue
            if ruling is not None:
                self._after_commit(directive, ruling)
            return stored
        raise AssertionError

    async def _carry_out(self, directive: Directive) -> tuple[Stored, Ruling | None]:
        delivered = directive.delivered
        with self._refusals.attempt() as count_refusal:
            async with self._journal.transaction() as tx:
                earlier = await outcomes.load(tx.conn, delivered.command_id)
                if earlier is not None:
                    return _again(earlier, delivered.body_digest), None
                now = await _now(tx.conn)
                ruling = await self._rule(tx, directive, now)
                if isinstance(ruling, Rejected):
                    counted = count_refusal((directive.cause.actor.id, ruling.code), directive, now)
                    await tx.append([refusal(directive, ruling.code, at=now)] if counted else [])
                else:
                    await tx.append(_events(directive, ruling, now))
                if tx.head is None:
                    await tx.require_writable()
                stored = _outcome(directive, ruling, tx.head)
                await _remember(tx.conn, delivered.command_id, stored)
        return stored, None if isinstance(ruling, Rejected) else ruling

    async def _rule(self, tx: Transaction, directive: Directive, now: datetime) -> Ruling | Rejected:
        if directive.delivered.expires_at <= now:
            return outcomes.EXPIRED
        if self._reasons.misses(directive.command, directive.cause.actor, directive.cause.reason):
            return REASON_REQUIRED
        return await self._rules[type(directive.command)](tx, directive, now)


def _again(earlier: Stored, digest: str | None) -> Stored:
    if earlier.body_digest == digest:
        return earlier
    return Stored(digest, "refused", outcomes.KEY_REUSED.code, outcomes.KEY_REUSED.detail)


def _outcome(directive: Directive, ruling: Ruling | Rejected, position: int | None) -> Stored:
    digest = directive.delivered.body_digest
    if isinstance(ruling, Rejected):
        return Stored(digest, "refused", ruling.code, ruling.detail, dict(ruling.facts))
    return Stored(digest, "done", facts=dict(ruling.facts), position=position if ruling.events else None)


def _events(directive: Directive, ruling: Ruling, now: datetime) -> list[NewEvent]:
    cause = directive.cause
    correlation_id = cause.correlation_id or new_id()
    return [
        NewEvent(
            stream_id=ruling.stream_id,
            version=version,
            type=body.TYPE,
            data=body.model_dump_json(exclude_none=True).encode(),
            actor=cause.actor,
            reason=cause.reason,
            command_id=directive.delivered.command_id,
            correlation_id=correlation_id,
            causation_id=cause.causation_id,
            traceparent=cause.traceparent or tracing.current_traceparent(),
            at=now,
        )
        for version, body in enumerate(ruling.events, start=ruling.version + 1)
    ]


async def _now(conn: AsyncConnection[Any]) -> datetime:
    row = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
    if row is None:
        raise AssertionError
    now: datetime = row[0]
    return now


async def _remember(conn: AsyncConnection[Any], command_id: str, stored: Stored) -> None:
    parameters = (stored.body_digest, stored.status, stored.code, stored.detail, json.dumps(stored.facts))
    await conn.execute(_REMEMBER, (command_id, *parameters, stored.position))
