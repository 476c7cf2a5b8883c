"""Projections: each event is applied exactly once, whoever dies when."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from psycopg import AsyncConnection

from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.relay import Relay
from jobplane.contracts.envelope import EventRecord
from tests.integration.chassis.projecting import Make, Rows, publish
from tests.integration.chassis.relaying import running, wipe
from tests.integration.chassis.writing import fill
from tests.support.servers import Bus
from tests.support.waiting import eventually


async def test_every_event_is_applied_once_in_order(journal: Journal, relay: Relay, make: Make, rows: Rows) -> None:
    await publish(journal, relay, 40)
    projection = make()
    await rows.assert_each_once(40)
    await publish(journal, relay, 3)
    await rows.assert_each_once(43)
    assert projection.position == 43
    assert projection.halted is None


@pytest.mark.parametrize("death", ["raise", "kill", "cancel"])
async def test_a_transaction_that_dies_is_repeated_and_nothing_doubled(
    journal: Journal, relay: Relay, make: Make, rows: Rows, death: str
) -> None:
    await publish(journal, relay, 50)
    deaths = 0

    async def die(conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
        nonlocal deaths
        if events[0].position < 10 * deaths or deaths == 4:
            return
        deaths += 1
        match death:
            case "raise":
                raise ValueError("a bug that passes")
            case "kill":
                await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            case _:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()

    while deaths < 4:
        seen = deaths

        def died(seen: int = seen) -> bool:
            return deaths > seen

        projection = make(fold=die)
        await eventually(died)
        await asyncio.wait_for(projection.stop(), 5)
    make(fold=die)
    await rows.assert_each_once(50)


async def test_one_of_two_replicas_reads_and_the_other_takes_over(
    journal: Journal, relay: Relay, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 20)
    first = make("a")
    await rows.assert_each_once(20)
    make("b")
    await publish(journal, relay, 20)
    await rows.assert_each_once(40)
    assert rows.appliers == {"a"}
    await first.stop()
    await publish(journal, relay, 20)
    await rows.assert_each_once(60)
    assert rows.appliers == {"a", "b"}


async def test_a_reader_that_lost_its_lock_unawares_is_fenced(
    journal: Journal, relay: Relay, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 10)
    make("a")
    await rows.assert_each_once(10)
    make("b")
    locks = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
    [(pid,)] = rows.ask(f"{locks} AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
    rows.ask(f"SELECT pg_terminate_backend({pid})")
    await eventually(lambda: [row for row in rows.ask(locks) if row[0] != pid])
    async with running(relay):
        for _ in range(10):
            await fill(journal, 5)
            relay.nudge()
        await rows.assert_each_once(60)


async def test_a_checkpoint_that_somebody_moved_is_not_moved_back(
    journal: Journal, relay: Relay, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 5)
    projection = make()
    await rows.assert_each_once(5)
    rows.change("UPDATE audit.checkpoint SET position = 8")
    await publish(journal, relay, 5)
    await eventually(lambda: rows.count == 7)
    assert [row[0] for row in rows.ask("SELECT position FROM audit.seen")] == [1, 2, 3, 4, 5, 9, 10]
    assert projection.halted is None


async def test_a_hole_halts(reading: Connection, journal: Journal, relay: Relay, make: Make, rows: Rows) -> None:
    config = b'{"name":"EVT_JOBS","subjects":["jobs.evt.>"],"allow_atomic":true,"allow_direct":true}'
    await reading.request("$JS.API.STREAM.CREATE.EVT_JOBS", config, timeout=10)
    await publish(journal, relay, 5)
    await reading.request("$JS.API.STREAM.MSG.DELETE.EVT_JOBS", b'{"seq":3}', timeout=10)
    projection = make()
    await eventually(lambda: projection.halted)
    assert projection.halted == "EVT_JOBS has 4 where 3 comes next"
    await eventually(lambda: rows.ask("SELECT halted FROM audit.checkpoint") == [(projection.halted,)])
    assert rows.count == 2


async def test_an_event_that_cannot_be_read_halts_unless_it_can_be_buried(
    reading: Connection, journal: Journal, relay: Relay, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 2)
    await reading.request("jobs.evt.0._.forged", b"no event", timeout=10)
    halting = make()
    await eventually(lambda: halting.halted)
    assert "3" in (halting.halted or "")
    buried: list[tuple[int, bytes]] = []

    async def bury(_conn: AsyncConnection[Any], sequence: int, data: bytes, _reason: str) -> None:
        buried.append((sequence, data))

    make(bury=bury)
    await eventually(lambda: rows.ask("SELECT position FROM audit.checkpoint") == [(3,)])
    assert buried == [(3, b"no event")]
    assert rows.count == 2


async def test_a_bus_that_was_wiped_and_filled_again_repeats_nothing(
    bus: Bus, journal: Journal, relay: Relay, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 30)
    async with running(relay):
        make()
        await rows.assert_each_once(30)
        wipe(bus)
        await fill(journal, 5)
        await rows.assert_each_once(35)


async def test_a_projection_goes_on_after_its_database_connections_were_cut(
    journal: Journal, relay: Relay, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 10)
    make()
    await rows.assert_each_once(10)
    rows.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'jobplane_audit'")
    await publish(journal, relay, 10)
    await rows.assert_each_once(20)


async def test_a_database_restored_from_a_copy_gets_what_it_lost_without_a_new_event(
    monkeypatch: pytest.MonkeyPatch, journal: Journal, relay: Relay, make: Make, rows: Rows
) -> None:
    monkeypatch.setattr("jobplane.chassis.projection._WATCH_S", 0.05)
    await publish(journal, relay, 5)
    make()
    await rows.assert_each_once(5)
    rows.change("BEGIN; DELETE FROM audit.seen WHERE position > 3; UPDATE audit.checkpoint SET position = 3; COMMIT")
    await rows.assert_each_once(5)
