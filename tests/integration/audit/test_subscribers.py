"""Events on a real bus become entries: each once, none missing, whatever breaks in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.audit import audit_log, search
from jobplane.audit.subscribers import Recorder, projections
from jobplane.chassis import bus as buses
from jobplane.chassis import dead_events
from jobplane.chassis.bus import Connection
from jobplane.chassis.dead_events import DeadEvents
from jobplane.chassis.following import Following
from jobplane.chassis.projection import Bury, Projection
from jobplane.contracts.audit import AuditItem, AuditQuery
from jobplane.contracts.envelope import EventRecord, event_headers
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from tests.support.events import lifecycle, lifecycles, login, publish, send, subject_of
from tests.support.servers import Bus
from tests.support.waiting import eventually


@pytest.fixture
async def following(pool: AsyncConnectionPool, reader: Connection) -> AsyncIterator[dict[str, Projection]]:
    made = projections(pool, reader)
    whole = Following(pool, reader, made)
    whole.start()
    yield made
    await whole.stop()


async def items(pool: AsyncConnectionPool) -> list[AuditItem]:
    """The log, oldest first."""
    async with pool.connection() as conn:
        return (await search.page(conn, AuditQuery(limit=200))).items[::-1]


async def reaches(projection: Projection, position: int) -> None:
    await eventually(lambda: projection.position == position)


async def assert_contiguous(pool: AsyncConnectionPool, source: str, last: int) -> None:
    async with pool.connection() as conn:
        checkpoint = "SELECT position FROM checkpoint WHERE name = %s"
        assert await (await conn.execute(checkpoint, (f"audit.{source}",))).fetchone() == (last,)
        assert await audit_log.covered(conn, source) == last
        ends = "SELECT min(position), max(position), count(*), (SELECT position FROM audit_head) FROM audit_log"
        row = await (await conn.execute(ends)).fetchone()
    assert row is not None
    assert row[0] == 1
    assert row[1] == row[2] == row[3], "positions have no gap"


async def test_the_events_of_both_journals_are_recorded(
    pool: AsyncConnectionPool, following: dict[str, Projection], jobs_relay: Connection, admin_relay: Connection
) -> None:
    events = lifecycles(3)
    await publish(jobs_relay, EVT_JOBS, events)
    await publish(admin_relay, EVT_ADMIN, [login(1)])
    await eventually(lambda: following[EVT_JOBS].position == 9 and following[EVT_ADMIN].position == 1)
    found = await items(pool)
    assert [item.source_position for item in found if item.source == EVT_JOBS] == list(range(1, 10))
    assert [item.trace_id for item in found if item.source == EVT_JOBS] == [event.trace_id for event in events]
    await assert_contiguous(pool, EVT_JOBS, 9)
    await assert_contiguous(pool, EVT_ADMIN, 1)


async def test_what_happened_while_it_was_away_is_caught_up(
    pool: AsyncConnectionPool, reader: Connection, jobs_relay: Connection
) -> None:
    events = lifecycles(4)
    for begin in (0, 6):
        await publish(jobs_relay, EVT_JOBS, events[begin : begin + 6])
        projection = projections(pool, reader)[EVT_JOBS]
        projection.start()
        await reaches(projection, begin + 6)
        await projection.stop()
    await assert_contiguous(pool, EVT_JOBS, 12)


async def test_of_two_replicas_one_folds_and_the_other_takes_over(
    pool: AsyncConnectionPool, following: dict[str, Projection], reader: Connection, jobs_relay: Connection
) -> None:
    await publish(jobs_relay, EVT_JOBS, lifecycles(2))
    await eventually(lambda: following[EVT_JOBS].position == 6)
    standby = projections(pool, reader)[EVT_JOBS]
    standby.start()
    await following[EVT_JOBS].stop()
    await publish(jobs_relay, EVT_JOBS, lifecycles(2, first=7))
    await eventually(lambda: standby.position == 12)
    await standby.stop()
    await assert_contiguous(pool, EVT_JOBS, 12)


class Faulty(Recorder):
    """Fails once after the rows are written, before the checkpoint is."""

    def __init__(self, bury: Bury, fault: BaseException) -> None:
        super().__init__(EVT_JOBS, bury)
        self.fault: BaseException | None = fault
        self.folded = 0

    async def fold(self, conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
        await super().fold(conn, events)
        self.folded += 1
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault


@pytest.mark.parametrize("fault", [RuntimeError("crash between"), asyncio.CancelledError()], ids=["crash", "cancel"])
async def test_a_crash_between_rows_and_checkpoint_loses_and_doubles_nothing(
    pool: AsyncConnectionPool, reader: Connection, jobs_relay: Connection, fault: BaseException
) -> None:
    await publish(jobs_relay, EVT_JOBS, lifecycles(5))
    bury = DeadEvents(reader, "audit", EVT_JOBS).bury
    faulty = Faulty(bury, fault)
    broken = Projection(pool, reader, EVT_JOBS, f"audit.{EVT_JOBS}", faulty.fold, bury=bury)
    broken.start()
    await eventually(lambda: faulty.folded == 1)
    await broken.stop()
    assert await items(pool) == []
    again = projections(pool, reader)[EVT_JOBS]
    again.start()
    await eventually(lambda: again.position == 15)
    await again.stop()
    await assert_contiguous(pool, EVT_JOBS, 15)


async def test_a_killed_bus_is_survived(
    pool: AsyncConnectionPool, following: dict[str, Projection], jobs_relay: Connection, bus: Bus
) -> None:
    await publish(jobs_relay, EVT_JOBS, lifecycles(3))
    await eventually(lambda: following[EVT_JOBS].position == 9)
    bus.kill()
    await eventually(lambda: not jobs_relay.is_connected)
    bus.start()
    await eventually(lambda: jobs_relay.is_connected, timeout=10)
    await publish(jobs_relay, EVT_JOBS, lifecycles(3, first=10))
    await eventually(lambda: following[EVT_JOBS].position == 18, timeout=20)
    await assert_contiguous(pool, EVT_JOBS, 18)


async def test_an_event_of_unknown_type_is_dead_lettered_with_the_reason_and_leaves_no_hole(
    pool: AsyncConnectionPool, following: dict[str, Projection], jobs_relay: Connection, bus: Bus
) -> None:
    first, second, third = lifecycle(1)
    odd = event_headers(second, "jobplane/jobs") | {"ce-type": "job.exploded.v1"}
    await publish(jobs_relay, EVT_JOBS, [first])
    await send(jobs_relay, subject_of(EVT_JOBS, second), odd, second.data)
    await publish(jobs_relay, EVT_JOBS, [third])
    await eventually(lambda: following[EVT_JOBS].position == 3)
    assert [item.source_position for item in await items(pool)] == [1, 3]
    await assert_contiguous(pool, EVT_JOBS, 3)
    headers, data = await dead_letter(bus)
    assert data == second.data
    assert headers["Jobplane-Dead-Position"] == "2"
    assert "job.exploded.v1" in headers["Jobplane-Dead-Reason"]


async def test_a_message_that_is_no_event_is_dead_lettered_too(
    pool: AsyncConnectionPool, following: dict[str, Projection], jobs_relay: Connection, reader: Connection, bus: Bus
) -> None:
    await send(jobs_relay, "jobs.evt.0.default.job_created", {"ce-type": "job.created.v1"}, b"\xff\x00")
    await publish(jobs_relay, EVT_JOBS, lifecycles(1, first=2))
    await eventually(lambda: following[EVT_JOBS].position == 4)
    await assert_contiguous(pool, EVT_JOBS, 4)
    async with pool.connection() as conn:
        assert await dead_events.count(conn) == 1
    headers, data = await dead_letter(bus)
    assert (headers["Jobplane-Dead-Stream"], data) == (EVT_JOBS, b"\xff\x00")
    told = Following(pool, reader, following)
    assert await told.ready() is True
    assert told.detail()["dead_events"] == 1


async def test_an_event_that_is_not_where_it_says_is_dead_lettered(
    pool: AsyncConnectionPool, following: dict[str, Projection], jobs_relay: Connection
) -> None:
    first, second, _ = lifecycle(1)
    await publish(jobs_relay, EVT_JOBS, [first, replace(second, position=1)])
    await eventually(lambda: following[EVT_JOBS].position == 2)
    assert [item.source_position for item in await items(pool)] == [1]
    await assert_contiguous(pool, EVT_JOBS, 2)


async def dead_letter(bus: Bus) -> tuple[dict[str, str], bytes]:
    """The last dead letter."""
    nc = await buses.connect(bus.url("test"), user="test", name="undertaker")
    stored = await nc.jetstream().get_last_msg("DLQ", f"dlq.audit.{EVT_JOBS}")
    await buses.close(nc)
    return dict(stored.headers or {}), stored.data or b""


async def test_a_hole_halts_the_projection_and_is_told(
    pool: AsyncConnectionPool, reader: Connection, jobs_relay: Connection, bus: Bus
) -> None:
    await publish(jobs_relay, EVT_JOBS, lifecycles(2))
    await punch(bus, 3)
    made = projections(pool, reader)
    whole = Following(pool, reader, made)
    whole.start()
    reason = await eventually(lambda: made[EVT_JOBS].halted)
    await whole.stop()
    assert reason == "EVT_JOBS has 4 where 3 comes next"
    assert whole.detail()["halted"] == {EVT_JOBS: reason}
    assert [item.source_position for item in await items(pool)] in ([], [1, 2])


async def punch(bus: Bus, sequence: int) -> None:
    """Take one event out of the stream: only a stream that was made to allow it lets go of one."""
    nc = await buses.connect(bus.url("test"), user="test", name="burglar")
    stream = nc.jetstream()
    kept = [await stream.get_msg(EVT_JOBS, number) for number in range(1, 7)]
    config = (await stream.stream_info(EVT_JOBS)).config
    await stream.delete_stream(EVT_JOBS)
    await stream.add_stream(config, deny_delete=False)
    for message in kept:
        await stream.publish(message.subject or "", message.data or b"", headers=dict(message.headers or {}))
    assert await stream.delete_msg(EVT_JOBS, sequence)
    await buses.close(nc)
