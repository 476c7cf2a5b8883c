"""The relay: stream sequence equals journal position, whatever happens to bus, database and other relays."""

import asyncio
import functools
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from nats.errors import TimeoutError as NatsTimeoutError

from jobplane.chassis import bus as buses
from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.relay import Diverged, Relay
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import Unavailable
from tests.integration.chassis.relaying import assert_relayed, relay_of, running, wipe
from tests.integration.chassis.writing import append, event, exchange, fill
from tests.support.servers import Bus, Database, PrivateDatabase
from tests.support.waiting import eventually


async def test_sequence_equals_position_and_every_byte_is_the_same(
    journal: Journal, relay: Relay, reading: Connection
) -> None:
    await append(journal, event(text='späß "quoted"'), event())
    await append(journal, event())
    assert await relay.run_once() == 3
    assert relay.relayed == 3
    await append(journal, event())
    assert await relay.run_once() == 1
    assert await relay.run_once() == 0
    await assert_relayed(journal, reading)


@pytest.mark.parametrize(("count", "size"), [(2500, 0), (40, 300 * 1024)], ids=["many", "large"])
async def test_more_than_fits_into_one_batch(
    journal: Journal, relay: Relay, reading: Connection, count: int, size: int
) -> None:
    await fill(journal, count, size=size)
    assert await relay.run_once() == count
    await assert_relayed(journal, reading)


async def test_a_running_relay_publishes_what_is_committed_when_nudged(
    journal: Journal, relay: Relay, reading: Connection
) -> None:
    journal.on_append = relay.nudge
    async with running(relay):
        for _ in range(5):
            position = await append(journal, event())
            await eventually(functools.partial(_reached, relay, position))
    await assert_relayed(journal, reading)


async def test_racing_relays_publish_each_event_once(
    bus: Bus, journal: Journal, relay: Relay, reading: Connection
) -> None:
    connections = [await buses.connect(bus.url("jobs-relay"), user="jobs-relay", name=f"relay {n}") for n in range(2)]
    others = [relay_of(bus, journal, connection) for connection in connections]

    def nudge() -> None:
        for one in (relay, *others):
            one.nudge()

    journal.on_append = nudge
    async with running(relay, *others):
        for _ in range(10):
            await asyncio.gather(*(append(journal, event(), event()) for _ in range(5)))
        await eventually(lambda: relay.relayed == 100)
    await assert_relayed(journal, reading)
    assert (await journal.figures()).halted is None
    for connection in connections:
        await buses.close(connection)


async def test_a_relay_that_finds_others_were_faster_goes_on_behind_them(
    bus: Bus, journal: Journal, relay: Relay, relaying: Connection, reading: Connection
) -> None:
    await fill(journal, 3)
    await relay.run_once()
    other = relay_of(bus, journal, relaying)
    await fill(journal, 3)
    await other.run_once()
    await fill(journal, 1)
    await relay.run_once()
    assert relay.relayed == 7
    await assert_relayed(journal, reading)


async def test_a_bus_killed_in_the_middle_of_a_batch_gets_the_rest_later(
    bus: Bus, journal: Journal, relay: Relay, relaying: Connection, reading: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(journal, 2500)
    monkeypatch.setattr("jobplane.chassis.relay._TIMEOUT_S", 0.5)
    batches = 0
    killed = asyncio.Event()
    publish_all = relaying.publish_all

    async def die_halfway(messages: Sequence[tuple[str, dict[str, str], bytes]]) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            await publish_all(messages[:600])
            await relaying.flush()
            bus.kill()
            killed.set()
        await publish_all(messages[600:] if batches == 2 else messages)

    monkeypatch.setattr(relaying, "publish_all", die_halfway)
    async with running(relay):
        await killed.wait()
        bus.start()
        await eventually(lambda: relay.relayed == 2500, timeout=15)
    await assert_relayed(journal, reading)


async def test_a_lost_answer_doubles_nothing(
    journal: Journal, relay: Relay, relaying: Connection, reading: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(journal, 10)
    request = relaying.request
    lost = 0

    async def lose(subject: str, *arguments: Any, **more: Any) -> Any:
        nonlocal lost
        answer = await request(subject, *arguments, **more)
        if subject.startswith("jobs.evt.") and not lost:
            lost += 1
            raise NatsTimeoutError
        return answer

    monkeypatch.setattr(relaying, "request", lose)
    async with running(relay):
        await eventually(lambda: relay.relayed == 10)
    assert lost == 1
    await assert_relayed(journal, reading)


async def test_a_wiped_bus_heals_from_the_journal(
    bus: Bus, journal: Journal, relay: Relay, reading: Connection
) -> None:
    await fill(journal, 1200)
    async with running(relay):
        await eventually(lambda: relay.relayed == 1200)
        wipe(bus)
        await fill(journal, 5)
        await assert_relayed(journal, reading)
    assert (await journal.figures()).halted is None


async def test_who_has_seen_more_writes_nothing_to_a_database_restored_from_a_backup(
    journal: Journal, relay: Relay, database: Database
) -> None:
    await fill(journal, 5)
    await relay.run_once()
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("DELETE FROM jobs.event WHERE pos > 3")
        admin.execute("UPDATE jobs.journal_head SET pos = 3")
    with pytest.raises(Unavailable) as refused:
        await append(journal, event())
    assert refused.value.code == "journal_diverged"
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("UPDATE jobs.journal_head SET pos = 4, epoch = epoch + 1")
    assert await append(journal, event()) == 5, "an operator has decided where it goes on"


async def test_however_much_there_is_to_publish_one_may_write_as_soon_as_journal_and_bus_were_compared(
    journal: Journal, relay: Relay, reading: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(journal, 5)
    after, let_go = journal.after, asyncio.Event()

    async def slow(last: int, limit: int) -> list[EventRecord]:
        await let_go.wait()
        return await after(last, limit)

    monkeypatch.setattr(journal, "after", slow)
    async with running(relay):
        await eventually(relay.verified.is_set)
        assert relay.relayed == 0
        let_go.set()
        await eventually(lambda: relay.relayed == 5)
    await assert_relayed(journal, reading)


async def test_a_replica_that_wrote_nothing_knows_what_the_others_published_before_the_database_came_back_older(
    bus: Bus, relaying: Connection, private_database: PrivateDatabase
) -> None:
    url = private_database.url("jobs")
    pools = [await databases.open_pool(url, schema="jobs", service="jobs") for _ in range(2)]
    busy, idle = map(Journal, pools)
    busy_relay, idle_relay = (relay_of(bus, journal, relaying) for journal in (busy, idle))
    await fill(busy, 5)
    await busy_relay.run_once()
    await idle_relay.run_once()
    await fill(busy, 3)
    await busy_relay.run_once()
    assert (busy.head, idle.head) == (8, 5)
    await asyncio.to_thread(private_database.stop)
    async with running(idle_relay):
        await eventually(lambda: idle.head == 8, timeout=20)
    await asyncio.to_thread(private_database.start)
    with psycopg.connect(private_database.admin_url) as admin:
        admin.execute("DELETE FROM jobs.event WHERE pos > 5")
        admin.execute("UPDATE jobs.journal_head SET pos = 5")
    with pytest.raises(Unavailable) as refused:
        await eventually(functools.partial(_appended, idle), timeout=20)
    assert refused.value.code == "journal_diverged"
    for pool in pools:
        await pool.close()


async def _appended(journal: Journal) -> int | None:
    """The position, as soon as the database is there again."""
    try:
        return await append(journal, event())
    except psycopg.OperationalError:
        return None


async def test_a_lost_tail_that_the_bus_never_had_halts_writes_too(
    journal: Journal, relay: Relay, database: Database
) -> None:
    await fill(journal, 5)
    await relay.run_once()
    await fill(journal, 3)
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("DELETE FROM jobs.event WHERE pos > 6")
        admin.execute("UPDATE jobs.journal_head SET pos = 6")
    async with journal.exchange() as tx:
        assert tx.known == (8, 1)
    async with running(relay):
        with pytest.raises(Unavailable):
            await exchange(journal)
        assert "it had reached 8" in await eventually(lambda: _halted(journal))


@pytest.mark.parametrize("step", ["figures", "after", "event_id_at"])
async def test_a_reconnect_at_any_moment_makes_it_compare_once_more(
    journal: Journal, relay: Relay, reading: Connection, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    await fill(journal, 2)
    await relay.run_once()
    relay.recheck()
    asked: list[str] = []

    def told(name: str) -> None:
        method = getattr(journal, name)

        async def call(*args: Any) -> Any:
            if name == step and name not in asked:
                relay.recheck()
            asked.append(name)
            return await method(*args)

        monkeypatch.setattr(journal, name, call)

    for name in ("figures", "after", "event_id_at"):
        told(name)
    await fill(journal, 1)
    assert await relay.run_once() == 1
    assert asked.count("event_id_at") == 2
    asked.clear()
    assert await relay.run_once() == 0
    assert asked == ["after"]
    await assert_relayed(journal, reading)


@pytest.mark.parametrize("noticed", [True, False], ids=["after a reconnect", "in a moment"])
@pytest.mark.parametrize("written_since", [0, 2, 4], ids=["shorter", "as long", "longer"])
async def test_a_database_restored_from_a_backup_halts_all_writes(
    journal: Journal, relay: Relay, database: Database, written_since: int, noticed: bool
) -> None:
    await fill(journal, 5)
    await relay.run_once()
    with psycopg.connect(database.admin_url) as admin:
        admin.execute("DELETE FROM jobs.event WHERE pos > 3")
        admin.execute("UPDATE jobs.journal_head SET pos = 3")
    if written_since:
        await fill(Journal(journal.pool), written_since)  # by a process that has not seen more
    if noticed:
        relay.recheck()
    with pytest.raises(Diverged):
        await relay.run_once()
    async with running(relay):
        halted = await eventually(lambda: _halted(journal))
        assert "EVT_JOBS" in halted
    with pytest.raises(Unavailable) as refused:
        await append(journal, event())
    assert refused.value.code == "journal_diverged"


async def test_a_stranger_in_the_stream_halts_all_writes(journal: Journal, relay: Relay, reading: Connection) -> None:
    await fill(journal, 2)
    await relay.run_once()
    await reading.request("jobs.evt.0._.forged", b"{}", timeout=10)
    await fill(journal, 1)
    async with running(relay):
        await eventually(lambda: _halted(journal))


async def test_the_stream_may_have_forgotten_its_last_event(
    bus: Bus, journal: Journal, relay: Relay, reading: Connection
) -> None:
    """After retention: empty, yet numbered."""
    await fill(journal, 3)
    await relay.run_once()
    await reading.request("$JS.API.STREAM.DELETE.EVT_JOBS", b"", timeout=10)
    config = b'{"name":"EVT_JOBS","subjects":["jobs.evt.>"],"first_seq":4,"allow_atomic":true,"allow_direct":true}'
    await reading.request("$JS.API.STREAM.CREATE.EVT_JOBS", config, timeout=10)
    await fill(journal, 1)
    relay.recheck()
    assert await relay.run_once() == 1
    assert relay.relayed == 4


async def test_a_relay_outlives_its_database(
    bus: Bus, relaying: Connection, private_database: PrivateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobplane.chassis.database._LEND_S", 0.5)
    pool = await databases.open_pool(private_database.url("jobs"), schema="jobs", service="jobs")
    journal = Journal(pool)
    relay = relay_of(bus, journal, relaying)
    await fill(journal, 2)
    async with running(relay):
        await eventually(lambda: relay.relayed == 2)
        private_database.stop()
        relay.recheck()
        private_database.start()
        await eventually(lambda: _fills(journal), timeout=15)
        await eventually(lambda: relay.relayed == 3, timeout=15)
    await pool.close()


def _reached(relay: Relay, position: int) -> bool:
    return relay.relayed == position


async def _fills(journal: Journal) -> bool:
    """Whether the database takes one more event."""
    try:
        await fill(journal, 1)
    except psycopg.OperationalError:
        return False
    return True


async def _halted(journal: Journal) -> str:
    return (await journal.figures()).halted or ""
