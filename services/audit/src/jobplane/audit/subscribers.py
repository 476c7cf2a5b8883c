"""What the audit service reads from the bus: every event stream, whole, one projection each."""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.audit import audit_log
from jobplane.audit.entry import AuditEntry, entries
from jobplane.chassis import metrics, tracing
from jobplane.chassis.bus import Connection
from jobplane.chassis.dead_event_replay import DeadEventReplay, stays_dead
from jobplane.chassis.dead_events import DeadEvents
from jobplane.chassis.projection import Bury, Projection, checkpoint_name
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.topology import FOLDED

SERVICE: Final = "audit"
REST_S: Final = 0.09
"""Entries are at most so much older than their events: a transaction for each event would cost ten times as much."""


class Recorder:
    """Records the events of one stream as entries of the AuditLog."""

    def __init__(self, stream: str, bury: Bury, *, late: bool = False) -> None:
        self._stream = stream
        self._bury = bury
        self._late = late

    async def fold(self, conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
        """Add the entries of these events in the caller's transaction; an event that means nothing is buried."""
        with metrics.batch("audit", len(events)):
            await audit_log.append(conn, await self._entries(conn, events), late=self._late)

    async def _entries(self, conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> list[AuditEntry]:
        recorded = _traced_entries if tracing.exporting() else entries
        made: list[AuditEntry] = []
        for event in events:
            try:
                made.extend(recorded(event, self._stream))
            except InvalidMessage as error:
                await self._bury(conn, event.position, event.data, str(error))
        return made


def _traced_entries(event: EventRecord, stream: str) -> list[AuditEntry]:
    with tracing.span("audit.record", traceparent=event.traceparent, kind=tracing.Kind.CONSUMER):
        return entries(event, stream)


def projections(pool: AsyncConnectionPool, nc: Connection) -> dict[str, Projection]:
    """One projection per audited stream, by stream."""
    made: dict[str, Projection] = {}
    for stream in FOLDED[SERVICE]:
        bury = DeadEvents(nc, SERVICE, stream).bury
        fold, name = Recorder(stream, bury).fold, checkpoint_name(SERVICE, stream)
        made[stream] = Projection(pool, nc, stream, name, fold, bury=bury, rest_s=REST_S)
    return made


def replay(pool: AsyncConnectionPool, nc: Connection) -> DeadEventReplay:
    """Records after all what had been buried; it then stands at the end of the log, with the time of its event."""
    folds = {stream: Recorder(stream, stays_dead, late=True).fold for stream in FOLDED[SERVICE]}
    return DeadEventReplay(pool, nc, SERVICE, folds)
