"""What people do, as events of the gateway's journal: logins, uploads, changed accounts, and refusals."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from jobplane.chassis import clock, tracing
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, Transaction
from jobplane.chassis.new_events import NewEvent
from jobplane.chassis.refusals import Tally
from jobplane.contracts.actors import Actor
from jobplane.contracts.admin_events import AnyAdminEvent, LoginFailed, RequestRefused
from jobplane.contracts.errors import Unavailable

log = structlog.get_logger()

Refusal = RequestRefused | LoginFailed
SOURCE: Final = "jobplane/gateway"


@dataclass(frozen=True, slots=True)
class Entry:
    """An event about to be recorded: the account or upload it is about is its stream, a refusal has one of its own."""

    event: AnyAdminEvent
    actor: Actor
    stream_id: str
    version: int = 1
    reason: str | None = None
    """In the actor's words."""


class AdminLog:
    """Records events; refusals beyond 20 alike in a minute are summed up."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._tally: Tally[tuple[str, str, str | None], Entry] = Tally()

    async def append(self, tx: Transaction, *entries: Entry) -> None:
        """Record events in a transaction that also writes the gateway's own rows."""
        correlation_id, traceparent = new_id(), tracing.current_traceparent()
        await tx.append([_new_event(entry, correlation_id, traceparent) for entry in entries])

    async def refused(self, actor: Actor, refusal: Refusal, at: datetime | None = None) -> None:
        """Record a refusal. A journal that is away is logged, so that the caller still hears why they were refused."""
        who = actor.origin or actor.id if actor.role is None else actor.id
        entry = Entry(refusal, actor, new_id())
        about = refusal.account_id if isinstance(refusal, LoginFailed) else None
        if self._tally.add((who, refusal.code, about), entry, at or clock.now()):
            await self._record([entry])

    async def sum_up(self, at: datetime | None = None, *, everything: bool = False) -> int:
        """Record one event for each sort of refusal that came too often in a minute that is over; gives how many."""
        due = self._tally.rest() if everything else self._tally.due(at or clock.now())
        entries = [
            Entry(entry.event.model_copy(update={"count": count}), entry.actor, entry.stream_id)
            for _, entry, count in due
        ]
        await self._record(entries)
        return len(entries)

    async def _record(self, entries: list[Entry]) -> None:
        if not entries:
            return
        try:
            async with self.journal.transaction() as tx:
                await self.append(tx, *entries)
        except (Unavailable, DatabaseError, PoolTimeout) as error:
            log.error("refusal.not_recorded", count=len(entries), error=type(error).__name__)  # noqa: TRY400 - no bug


def _new_event(entry: Entry, correlation_id: str, traceparent: str) -> NewEvent:
    return NewEvent(
        stream_id=entry.stream_id,
        version=entry.version,
        type=entry.event.TYPE,
        data=entry.event.model_dump_json(exclude_none=True).encode(),
        actor=entry.actor,
        reason=entry.reason,
        correlation_id=correlation_id,
        traceparent=traceparent,
    )
