"""Dead events are read after all, from the journal: their entries are there once, or everything is as it was."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.audit import audit_log, search
from jobplane.audit.subscribers import Recorder, projections
from jobplane.audit.subscribers import replay as replay_of
from jobplane.chassis import dead_events, queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.dead_event_replay import DeadEventReplay, stays_dead
from jobplane.contracts.audit import AuditAction, AuditItem, AuditQuery
from jobplane.contracts.dead_letters import REPLAY_EVENT, DeadEventReplayed, OneDeadEvent
from jobplane.contracts.envelope import EventRecord, event_headers
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.topology import EVT_HEALTH, EVT_JOBS
from tests.support.events import NOON, lifecycle, publish, send, subject_of
from tests.support.journals import owner, record
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

SECOND = OneDeadEvent(stream=EVT_JOBS, position=2)


@pytest.fixture
async def events(pool: AsyncConnectionPool, reader: Connection, jobs_relay: Connection) -> list[EventRecord]:
    """Three of which the log lacks the second: on the bus, its message was damaged."""
    events = lifecycle(1)
    first, second, third = events
    damaged = event_headers(second, "jobplane/jobs") | {"ce-type": "job.exploded.v1"}
    await publish(jobs_relay, EVT_JOBS, [first])
    await send(jobs_relay, subject_of(EVT_JOBS, second), damaged, second.data)
    await publish(jobs_relay, EVT_JOBS, [third])
    projection = projections(pool, reader)[EVT_JOBS]
    projection.start()
    await eventually(lambda: projection.position == 3)
    await projection.stop()
    return events


@pytest.fixture
def replay(pool: AsyncConnectionPool, reader: Connection) -> DeadEventReplay:
    return replay_of(pool, reader)


@pytest.fixture
async def journal(bus: Bus, database: Database, events: list[EventRecord]) -> AsyncIterator[list[EventRecord]]:
    """The jobs service answers from its journal, where nothing is damaged."""
    await record(database, "jobs", events)
    async with owner(bus, database, EVT_JOBS):
        yield events


async def items(pool: AsyncConnectionPool, **wanted: Any) -> list[AuditItem]:
    async with pool.connection() as conn:
        return (await search.page(conn, AuditQuery(**wanted))).items[::-1]


async def assert_untouched(pool: AsyncConnectionPool) -> None:
    """The second is still missing, and known to be missing."""
    assert [(item.position, item.source_position) for item in await items(pool)] == [(1, 1), (2, 3)]
    async with pool.connection() as conn:
        assert await dead_events.count(conn) == 1
        assert await audit_log.covered(conn, EVT_JOBS) == 3
        assert await (await conn.execute("SELECT position FROM audit_head")).fetchone() == (2,)


async def test_an_event_that_was_damaged_on_the_bus_alone_is_recorded_once_however_often_it_is_asked(
    bus: Bus, pool: AsyncConnectionPool, replay: DeadEventReplay, journal: list[EventRecord]
) -> None:
    broker = queries.broker(bus.url("audit"), "audit", "audit-1")
    replay.answer(broker)
    await broker.start()
    async with bus.connected("gateway") as gateway:
        asked = [queries.ask(gateway, "audit", REPLAY_EVENT, SECOND, DeadEventReplayed) for _ in range(5)]
        answers = await asyncio.gather(*asked)
        later = await queries.ask(gateway, "audit", REPLAY_EVENT, SECOND, DeadEventReplayed)
    await broker.stop()
    assert sorted(answer.missing for answer in answers) == [False] * 4 + [True]
    assert later.missing is False
    found = await items(pool)
    assert [(item.position, item.source_position) for item in found] == [(1, 1), (2, 3), (3, 2)]
    assert (found[2].at, found[2].trace_id) == (journal[1].at, journal[1].trace_id)
    async with pool.connection() as conn:
        assert await dead_events.count(conn) == 0
        assert await audit_log.covered(conn, EVT_JOBS) == 3


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("others_h", [None, -1, 1], ids=["alone", "after", "before"])
async def test_what_is_recorded_late_is_found_at_the_time_when_it_happened(
    pool: AsyncConnectionPool, replay: DeadEventReplay, others_h: int | None
) -> None:
    if others_h is not None:
        async with pool.connection() as conn:
            others = lifecycle(4, at=NOON + timedelta(hours=others_h))
            await Recorder(EVT_JOBS, stays_dead).fold(conn, others)
    await replay.replay(SECOND)
    hour = {"since": NOON, "until": NOON + timedelta(hours=1)}
    at = NOON + timedelta(seconds=1)
    for wanted, found in (
        (hour, [1, 3, 2]),
        (hour | {"action": [AuditAction.JOB_STARTED]}, [2]),
        ({"since": at, "until": at + timedelta(seconds=1)}, [2]),
        ({"until": at}, [1]),
        ({"since": NOON + timedelta(hours=2)}, []),
    ):
        assert [item.source_position for item in await items(pool, **wanted) if item.source_position <= 3] == found
    found_once = [item.position for item in await items(pool, since=NOON - timedelta(days=1))]
    assert len(found_once) == len(set(found_once))


async def test_what_still_means_nothing_stays_dead(
    bus: Bus, database: Database, pool: AsyncConnectionPool, replay: DeadEventReplay, events: list[EventRecord]
) -> None:
    await record(database, "jobs", [events[0], replace(events[1], type="job.exploded.v1"), events[2]])
    async with owner(bus, database, EVT_JOBS):
        with pytest.raises(Refused) as refusal:
            await replay.replay(SECOND)
    assert refusal.value.code == "still_unreadable"
    assert "job.exploded.v1" in str(refusal.value.facts["reason"])
    await assert_untouched(pool)


@pytest.mark.usefixtures("events")
async def test_without_its_journal_it_stays_dead(pool: AsyncConnectionPool, replay: DeadEventReplay) -> None:
    with pytest.raises(Unavailable, match="the jobs service is not running"):
        await replay.replay(SECOND)
    await assert_untouched(pool)


async def test_what_the_journal_does_not_have_stays_dead(
    bus: Bus, database: Database, pool: AsyncConnectionPool, replay: DeadEventReplay, events: list[EventRecord]
) -> None:
    await record(database, "jobs", events[:1])
    async with owner(bus, database, EVT_JOBS):
        with pytest.raises(Refused, match="The journal has no such event") as refusal:
            await replay.replay(SECOND)
    assert refusal.value.code == "not_replayable"
    await assert_untouched(pool)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (OneDeadEvent(stream=EVT_JOBS, position=4), "is at 3 and has not come to this event yet"),
        (OneDeadEvent(stream=EVT_JOBS, position=2**63 - 1), "is at 3 and has not come to this event yet"),
        (OneDeadEvent(stream=EVT_HEALTH, position=2), "does not read EVT_HEALTH"),
    ],
)
async def test_what_cannot_be_dead_is_refused(
    pool: AsyncConnectionPool, replay: DeadEventReplay, wanted: OneDeadEvent, says: str
) -> None:
    with pytest.raises(Refused, match=says) as refusal:
        await replay.replay(wanted)
    assert refusal.value.code == "not_replayable"
    await assert_untouched(pool)


@pytest.mark.usefixtures("journal")
async def test_what_was_never_dead_is_left_alone(pool: AsyncConnectionPool, replay: DeadEventReplay) -> None:
    assert (await replay.replay(OneDeadEvent(stream=EVT_JOBS, position=3))).missing is False
    await assert_untouched(pool)


@pytest.mark.usefixtures("journal")
@pytest.mark.parametrize("fault", [RuntimeError("a bug"), asyncio.CancelledError()], ids=["bug", "cut off"])
async def test_a_replay_that_ends_between_entry_and_commit_changes_nothing(
    pool: AsyncConnectionPool, reader: Connection, replay: DeadEventReplay, fault: BaseException
) -> None:
    async def broken(conn: AsyncConnection[Any], found: Sequence[EventRecord]) -> None:
        await Recorder(EVT_JOBS, stays_dead).fold(conn, found)
        raise fault

    with pytest.raises((Refused, asyncio.CancelledError)) as ended:
        await DeadEventReplay(pool, reader, "audit", {EVT_JOBS: broken}).replay(SECOND)
    if isinstance(ended.value, Refused):
        assert ended.value.code == "replay_failed"
    await assert_untouched(pool)
    assert (await replay.replay(SECOND)).missing is True
