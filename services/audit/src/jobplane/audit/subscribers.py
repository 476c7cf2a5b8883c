"""What the audit service reads from the bus: every event stream, whole, one projection each."""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.audit import audit_log
from jobplane.audit.entry import AUDITED, AuditEntry, entries
from jobplane.chassis import metrics, tracing
from jobplane.chassis.bus import Connection
from jobplane.chassis.dead_events import DeadEvents
from jobplane.chassis.projection import Projection
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage

REST_S: Final = 0.09
"""Entries are at most so much older than their events: a transaction for each event would cost ten times as much."""


class Recorder:
    """Records the events of one stream as entries of the AuditLog."""

    def __init__(self, stream: str, dead: DeadEvents) -> None:
        self._stream = stream
        self._dead = dead

    async def fold(self, conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
        """Add the entries of these events in the caller's transaction; an event that means nothing is buried."""
        with metrics.batch("audit", len(events)):
            await audit_log.append(conn, await self._entries(conn, events))

    async def _entries(self, conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> list[AuditEntry]:
        recorded = _traced_entries if tracing.exporting() else entries
        made: list[AuditEntry] = []
        for event in events:
            try:
                made.extend(recorded(event, self._stream))
            except InvalidMessage as error:
                await self._dead.bury(conn, event.position, event.data, str(error))
        return made


def _traced_entries(event: EventRecord, stream: str) -> list[AuditEntry]:
    with tracing.span("audit.record", traceparent=event.traceparent, kind=tracing.Kind.CONSUMER):
        return entries(event, stream)


def projections(pool: AsyncConnectionPool, nc: Connection) -> dict[str, Projection]:
    """One projection per audited stream, by stream."""
    made: dict[str, Projection] = {}
    for stream in AUDITED:
        dead = DeadEvents(nc, "audit", stream)
        fold = Recorder(stream, dead).fold
        made[stream] = Projection(pool, nc, stream, f"audit.{stream}", fold, bury=dead.bury, rest_s=REST_S)
    return made
