"""What the health service makes of events and heartbeats on a real bus."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import dead_events
from jobplane.chassis.bus import Connection
from jobplane.chassis.dead_events import DeadEvents
from jobplane.chassis.heartbeat import Heartbeat
from jobplane.chassis.projection import Projection
from jobplane.contracts.dead_letters import OneDeadEvent
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.fleet import MinuteRate
from jobplane.contracts.topology import EVT_JOBS
from jobplane.health import history
from jobplane.health.subscribers import Counter, Listener, projection, replay
from tests.integration.health.conftest import Connect
from tests.support.events import NOON, lifecycle, lifecycles, publish, split
from tests.support.journals import owner, record
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

EVENTS = lifecycles(10)


async def rates(pool: AsyncConnectionPool) -> list[MinuteRate]:
    async with pool.connection() as conn:
        return await history.last_hour(conn, NOON + timedelta(minutes=30))


async def ready() -> bool:
    return True


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 12), max_size=8))
async def test_any_batches_give_the_same_history(
    pool: AsyncConnectionPool, database: Database, reader: Connection, sizes: list[int]
) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as owner:
        owner.execute("TRUNCATE health.minute_rate")
    counter = Counter(DeadEvents(reader, "health", EVT_JOBS).bury)
    for batch in split(EVENTS, sizes):
        async with pool.connection() as conn, conn.transaction():
            await counter.fold(conn, batch)
    (minute,) = await rates(pool)
    assert (minute.minute, minute.created, minute.started, minute.completed, minute.failed) == (NOON, 10, 10, 8, 2)
    assert minute.error_rate == 0.2


async def test_events_of_the_bus_become_minutes(
    pool: AsyncConnectionPool, reader: Connection, connect: Connect
) -> None:
    made = projection(pool, reader)
    made.start()
    await publish(await connect("jobs-relay"), EVT_JOBS, [*lifecycle(1), *lifecycle(4, at=NOON + timedelta(minutes=2))])
    await eventually(lambda: made.position == 6)
    await made.stop()
    assert [(minute.minute.minute, minute.completed) for minute in await rates(pool)] == [(0, 1), (2, 1)]
    async with pool.connection() as conn:
        active = await history.last_activity(conn, NOON + timedelta(minutes=5))
        assert active == {"default": NOON + timedelta(minutes=2)}
        assert await history.prune(conn, NOON + history.KEPT + timedelta(minutes=1)) == 1


class Faulty(Counter):
    """Fails once after the rows are written, before the checkpoint is."""

    folded = 0

    async def fold(self, conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
        await super().fold(conn, events)
        self.folded += 1
        if self.folded == 1:
            raise asyncio.CancelledError


async def test_a_crash_between_rows_and_checkpoint_counts_nothing_twice(
    pool: AsyncConnectionPool, reader: Connection, connect: Connect
) -> None:
    await publish(await connect("jobs-relay"), EVT_JOBS, EVENTS)
    bury = DeadEvents(reader, "health", EVT_JOBS).bury
    faulty = Faulty(bury)
    broken = Projection(pool, reader, EVT_JOBS, f"health.{EVT_JOBS}", faulty.fold, bury=bury)
    broken.start()
    await eventually(lambda: faulty.folded == 1)
    await broken.stop()
    again = projection(pool, reader)
    again.start()
    await eventually(lambda: again.position == len(EVENTS))
    await again.stop()
    assert [minute.created for minute in await rates(pool)] == [10]


async def test_an_event_that_cannot_be_counted_is_dead_lettered(
    pool: AsyncConnectionPool, reader: Connection, connect: Connect
) -> None:
    first, second, third = lifecycle(1)
    made = projection(pool, reader)
    made.start()
    await publish(await connect("jobs-relay"), EVT_JOBS, [first, replace(second, data=b"{}"), third])
    await eventually(lambda: made.position == 3)
    await made.stop()
    assert [(minute.created, minute.started, minute.completed) for minute in await rates(pool)] == [(1, 0, 1)]
    async with pool.connection() as conn:
        assert await dead_events.count(conn) == 1


async def test_what_could_not_be_counted_is_counted_once_when_it_is_replayed(
    pool: AsyncConnectionPool, reader: Connection, connect: Connect, bus: Bus, database: Database
) -> None:
    events = [*lifecycle(1), *lifecycle(4, at=NOON + timedelta(minutes=2))]
    made = projection(pool, reader)
    made.start()
    await publish(await connect("jobs-relay"), EVT_JOBS, [events[0], replace(events[1], data=b"{}"), *events[2:]])
    await eventually(lambda: made.position == 6)
    await record(database, "jobs", events)
    async with owner(bus, database, EVT_JOBS):
        wanted = OneDeadEvent(stream=EVT_JOBS, position=2)
        answers = [await replay(pool, reader).replay(wanted) for _ in range(2)]
    await made.stop()
    assert [answer.missing for answer in answers] == [True, False]
    assert [(minute.created, minute.started, minute.completed) for minute in await rates(pool)] == [(1, 1, 1)] * 2
    async with pool.connection() as conn:
        assert await dead_events.count(conn) == 0


async def test_every_process_is_heard(reader: Connection, connect: Connect) -> None:
    listener = Listener()
    await listener.listen(reader)
    worker = Heartbeat(await connect("worker"), "worker", "worker-1", ready=ready, in_flight=lambda: 3)
    worker.start()
    seen = await eventually(lambda: listener.fleet.get(("worker", "worker-1")))
    assert seen is not None
    assert (seen.beat.ready, seen.beat.in_flight, seen.beat.stopping) == (True, 3, False)
    await worker.stop()
    await eventually(lambda: listener.fleet["worker", "worker-1"].beat.stopping)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"kind": "worker"}'])
async def test_what_is_no_heartbeat_changes_nothing(reader: Connection, connect: Connect, data: bytes) -> None:
    listener = Listener()
    await listener.listen(reader)
    nc = await connect("worker")
    await nc.publish("fleet.beat.worker.worker-1", data)
    await Heartbeat(nc, "worker", "worker-2", ready=ready).run_once()
    await eventually(lambda: list(listener.fleet) == [("worker", "worker-2")])


async def test_a_process_cannot_speak_for_another(reader: Connection, connect: Connect) -> None:
    listener = Listener()
    await listener.listen(reader)
    worker, other = await connect("worker"), await connect("worker")
    await Heartbeat(worker, "jobs", "jobs-1", ready=ready).run_once()  # the server denies it
    beat = await Heartbeat(other, "jobs", "jobs-1", ready=ready)._beat(stopping=True)
    await worker.publish("fleet.beat.worker.jobs-1", beat.model_dump_json().encode())
    await Heartbeat(worker, "worker", "worker-1", ready=ready).run_once()
    await eventually(lambda: list(listener.fleet) == [("worker", "worker-1")])
