"""Projections whose stream no longer has what comes next: they read it from the journal, each event exactly once."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.projection import Projection
from jobplane.chassis.relay import Relay
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.topology import EVT_JOBS
from tests.integration.chassis.projecting import Make, Rows, owner, publish
from tests.integration.chassis.writing import append, event, everything, with_reason
from tests.support.retention import keep, remake
from tests.support.servers import Bus
from tests.support.waiting import eventually

Lose = Callable[[Connection, int], Awaitable[None]]
"""Takes everything from the stream but its last messages, so many."""


@pytest.fixture
async def jobs(bus: Bus, journal: Journal) -> AsyncIterator[queries.Broker]:
    """The owner of the journal."""
    async with owner(bus, journal) as broker:
        yield broker


async def up_to(make: Make, rows: Rows, position: int) -> None:
    """A projection follows until there, and ends."""
    projection = make()
    await rows.assert_each_once(position)
    await projection.stop()


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("seen", [0, 3, 30])
@pytest.mark.parametrize("left", [0, 1, 15])
async def test_what_the_stream_dropped_meanwhile_is_read_from_the_journal(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows, seen: int, left: int
) -> None:
    if seen:
        await publish(journal, relay, seen)
        await up_to(make, rows, seen)
    await publish(journal, relay, 60 - seen)
    await (keep(reading, EVT_JOBS, left) if left else remake(reading, EVT_JOBS, 61))
    projection = make()
    await rows.assert_each_once(60)
    await publish(journal, relay, 5)
    await rows.assert_each_once(65)
    assert (projection.halted, projection.waiting) == (None, None)


@pytest.mark.usefixtures("jobs")
async def test_retention_that_overtakes_a_projection_at_work_costs_nothing(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 200)
    overtaken = False

    async def overtake(_conn: AsyncConnection[Any], _events: Sequence[EventRecord]) -> None:
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            await keep(reading, EVT_JOBS, 3)

    make(fold=overtake)
    await rows.assert_each_once(200)
    assert overtaken


@pytest.mark.usefixtures("jobs")
async def test_folded_events_are_the_same_from_pages_and_from_the_stream(
    bus: Bus,
    journal: Journal,
    relay: Relay,
    reading: Connection,
    pools: list[AsyncConnectionPool],
    following: Connection,
) -> None:
    await append(journal, *(with_reason(event(n=n), f"{n} „%“") for n in range(20)))
    assert await relay.run_once() == 20
    folded: dict[str, list[EventRecord]] = {"stream": [], "pages": []}
    for source, events in folded.items():

        async def fold(
            _conn: AsyncConnection[Any], some: Sequence[EventRecord], events: list[EventRecord] = events
        ) -> None:
            events += some

        projection = Projection(pools[0], following, EVT_JOBS, source, fold)
        projection.start()
        await eventually(partial(_is_at, projection, 20))
        await projection.stop()
        await remake(reading, EVT_JOBS, 21)
    assert folded["pages"] == folded["stream"] == await everything(journal)


def _is_at(projection: Projection, position: int) -> bool:
    return projection.position == position


async def test_an_owner_that_is_away_is_waited_for(
    bus: Bus, journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 30)
    await keep(reading, EVT_JOBS, 2)
    projection = make()
    await eventually(lambda: projection.waiting == "the jobs service is not running")
    await publish(journal, relay, 5)
    assert (rows.count, projection.halted) == (0, None)
    async with owner(bus, journal):
        await rows.assert_each_once(35)
        await eventually(lambda: projection.waiting is None)


async def test_an_owner_that_goes_away_between_two_pages_is_waited_for(
    bus: Bus, journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 30)
    await remake(reading, EVT_JOBS, 31)
    async with owner(bus, journal) as jobs:

        async def leave(_conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
            if events[0].position == 1:
                await jobs.stop()

        projection = make(fold=leave)
        await eventually(lambda: projection.waiting)
    assert rows.count == 7
    async with owner(bus, journal):
        await rows.assert_each_once(30)


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("death", ["raise", "kill"])
async def test_a_transaction_that_dies_with_a_page_is_repeated_and_nothing_doubled(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows, death: str
) -> None:
    await publish(journal, relay, 50)
    await keep(reading, EVT_JOBS, 10)
    deaths = 0

    async def die(conn: AsyncConnection[Any], events: Sequence[EventRecord]) -> None:
        nonlocal deaths
        if events[0].position < 10 * deaths or deaths == 4:
            return
        deaths += 1
        if death == "raise":
            raise ValueError("a bug that passes")
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    make(fold=die)
    await rows.assert_each_once(50)
    assert deaths == 4


async def new_epoch(journal: Journal, relay: Relay, reading: Connection) -> int:
    """What an operator does; gives the position with which it begins."""
    stream_end = (await reading.jetstream().stream_info(EVT_JOBS)).state.last_seq
    figures = await journal.open_epoch(stream_end)
    await reading.jetstream().delete_stream(EVT_JOBS)
    relay.recheck()
    await relay.run_once()
    return figures.first


async def assert_all_seen(rows: Rows, journal: Journal, projection: Projection) -> None:
    """Each event of the journal one time, in order, with whatever gaps the journal has."""
    positions = [one.position for one in await whole(journal)]
    await eventually(lambda: rows.count >= len(positions), timeout=20)
    assert [row[0] for row in rows.ask("SELECT position FROM audit.seen")] == positions
    await eventually(lambda: projection.position == positions[-1])
    assert (projection.halted, projection.waiting) == (None, None)


async def whole(journal: Journal) -> list[EventRecord]:
    return (await journal.page(0, 10_000))[0]


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("seen", [0, 4, 10])
@pytest.mark.parametrize("left", [2, 5])
async def test_an_epoch_that_began_meanwhile_is_the_only_gap(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows, seen: int, left: int
) -> None:
    """The stream begins with the new epoch, or has lost its beginning, too."""
    if seen:
        await publish(journal, relay, seen)
        await up_to(make, rows, seen)
    await publish(journal, relay, 10 - seen) if seen < 10 else None
    first = await new_epoch(journal, relay, reading)
    assert first > 10
    await publish(journal, relay, 5)
    await keep(reading, EVT_JOBS, left)
    projection = make()
    await assert_all_seen(rows, journal, projection)
    await publish(journal, relay, 3)
    await assert_all_seen(rows, journal, projection)
    assert len(await whole(journal)) == 18


@pytest.mark.usefixtures("jobs")
async def test_several_epochs_began_meanwhile(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 3)
    await up_to(make, rows, 3)
    for _ in range(3):
        await publish(journal, relay, 4)
        await new_epoch(journal, relay, reading)
    await publish(journal, relay, 4)
    await assert_all_seen(rows, journal, make())


@pytest.mark.usefixtures("jobs")
async def test_an_epoch_without_an_event_yet_is_waited_for_on_the_stream(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 5)
    await up_to(make, rows, 5)
    await new_epoch(journal, relay, reading)
    projection = make()
    await publish(journal, relay, 2)
    await assert_all_seen(rows, journal, projection)


@pytest.mark.usefixtures("jobs")
async def test_a_journal_that_is_older_than_the_stream_is_waited_for_until_an_epoch_begins(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 10)
    await keep(reading, EVT_JOBS, 3)
    rows.change("BEGIN; DELETE FROM jobs.event WHERE pos > 5; UPDATE jobs.journal_head SET pos = 5; COMMIT")
    projection = make()
    await eventually(lambda: projection.waiting == "the journal ends at 5, the stream begins at 8")
    assert rows.count == 5
    await new_epoch(journal, relay, reading)
    await publish(journal, relay, 2)
    await assert_all_seen(rows, journal, projection)


@pytest.mark.usefixtures("jobs")
async def test_a_journal_that_was_pruned_too_halts(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 4)
    await up_to(make, rows, 4)
    await publish(journal, relay, 36)
    await keep(reading, EVT_JOBS, 10)
    rows.change("DELETE FROM jobs.event WHERE pos < 21")
    projection = make()
    await eventually(lambda: projection.halted)
    assert projection.halted == "EVT_JOBS begins at 31, and its journal has 21 where 5 comes next"
    await eventually(lambda: rows.ask("SELECT halted FROM audit.checkpoint") == [(projection.halted,)])
    assert rows.count == 4


@pytest.mark.usefixtures("jobs")
async def test_a_journal_with_a_hole_halts_before_it(
    journal: Journal, relay: Relay, reading: Connection, make: Make, rows: Rows
) -> None:
    await publish(journal, relay, 30)
    await remake(reading, EVT_JOBS, 31)
    rows.change("DELETE FROM jobs.event WHERE pos = 17")
    projection = make()
    await eventually(lambda: projection.halted)
    assert projection.halted == "EVT_JOBS begins at 31, and its journal has 18 where 17 comes next"
    assert rows.count == 16
