"""What the health service reads from the bus: the events of jobs, counted, and every heartbeat."""

from collections.abc import Sequence
from typing import Any, Final

import structlog
from nats.aio.msg import Msg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import ValidationError

from jobplane.chassis import clock, metrics
from jobplane.chassis.bus import Connection
from jobplane.chassis.dead_event_replay import DeadEventReplay, stays_dead
from jobplane.chassis.dead_events import DeadEvents
from jobplane.chassis.projection import Bury, Projection, checkpoint_name
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.fleet import Heartbeat
from jobplane.contracts.subjects import FLEET_ALL, fleet_beat
from jobplane.contracts.topology import EVT_JOBS
from jobplane.health import fleet, history, throughput

log = structlog.get_logger()

SERVICE: Final = "health"
REST_S: Final = 1.0
"""Counts are at most so much older than what they count: the same few rows are not written for every event."""


class Counter:
    """Counts the events of `EVT_JOBS` per minute, queue and kind."""

    def __init__(self, bury: Bury) -> None:
        self._bury = bury

    async def fold(self, conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
        """Add these events in the caller's transaction; one whose body cannot be read is buried."""
        counted: list[tuple[throughput.Cell, str]] = []
        for event in events:
            if not throughput.is_counted(event):
                continue
            try:
                counted.append((throughput.cell_of(event), event.type))
            except InvalidMessage as error:
                await self._bury(conn, event.position, event.data, str(error))
        with metrics.batch("health", len(counted)):
            await history.add(conn, throughput.tally(counted))


def projection(pool: AsyncConnectionPool, nc: Connection) -> Projection:
    """The projection that keeps the history."""
    bury, name = DeadEvents(nc, SERVICE, EVT_JOBS).bury, checkpoint_name(SERVICE, EVT_JOBS)
    return Projection(pool, nc, EVT_JOBS, name, Counter(bury).fold, bury=bury, rest_s=REST_S)


def replay(pool: AsyncConnectionPool, nc: Connection) -> DeadEventReplay:
    """Counts after all what had been buried, in the minute of the event; a minute that is too old is pruned again."""
    return DeadEventReplay(pool, nc, SERVICE, {EVT_JOBS: Counter(stays_dead).fold})


class Listener:
    """Hears heartbeats and knows the fleet as of the latest one."""

    def __init__(self) -> None:
        self.fleet: fleet.Fleet = {}

    async def listen(self, nc: Connection) -> None:
        """Hear every process from now on."""
        await nc.subscribe(FLEET_ALL, cb=self.hear)

    async def hear(self, message: Msg) -> None:
        """Take one heartbeat; a process may speak for no other than the one its subject names."""
        try:
            beat = Heartbeat.model_validate_json(message.data)
        except ValidationError:
            log.warning("heartbeat.unreadable", subject=message.subject)
            return
        if message.subject != fleet_beat(beat.kind, beat.instance):
            log.warning("heartbeat.misaddressed", subject=message.subject)
            return
        now = clock.now()
        self.fleet = fleet.heard(fleet.without_forgotten(self.fleet, now), beat, now)
