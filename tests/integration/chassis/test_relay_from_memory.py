"""The relay publishes what was just committed without reading it again, and still notices another history."""

from dataclasses import replace

import psycopg
import pytest

from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.chassis.relay import Diverged, Relay
from jobplane.contracts.envelope import EventRecord
from tests.integration.chassis.relaying import assert_relayed, running
from tests.integration.chassis.writing import append, event, exchange, fill
from tests.support.servers import Database
from tests.support.waiting import eventually


async def test_what_was_committed_here_is_published_without_being_read_again(
    journal: Journal, relay: Relay, reading: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = event(text='späß "quoted"')
    full = replace(full, reason="naïve: 100 %", command_id=new_id(), causation_id=new_id())
    await relay.run_once()
    with monkeypatch.context() as patch:
        patch.setattr(journal, "after", _not_to_be_read)
        await exchange(journal, full, event())
        assert await relay.run_once() == 2
    await assert_relayed(journal, reading)


async def _not_to_be_read(_last: int, _limit: int) -> list[EventRecord]:
    raise AssertionError


async def test_own_events_behind_those_of_another_history_halt_all_writes(
    journal: Journal, relay: Relay, database: Database
) -> None:
    for _ in range(5):
        await exchange(journal)
    await relay.run_once()
    with psycopg.connect(database.admin_url) as admin:  # a fail-over that loses the tail
        admin.execute("DELETE FROM jobs.event WHERE pos > 3")
        admin.execute("UPDATE jobs.journal_head SET pos = 3")
    await fill(Journal(journal.pool), 2)  # another replica, which has not seen it
    await exchange(journal)
    with pytest.raises(Diverged, match="another event at 5 than was published"):
        await relay.run_once()
    async with running(relay):
        await eventually(lambda: _halted(journal))


async def test_behind_what_another_replica_committed_it_goes_on_at_once(
    journal: Journal, relay: Relay, reading: Connection
) -> None:
    await relay.run_once()
    await exchange(journal)
    await append(Journal(journal.pool), event())  # its replica ends before it publishes
    await exchange(journal)
    assert await relay.run_once() == 3
    await assert_relayed(journal, reading)


async def test_what_a_restored_database_has_lost_is_not_published(
    journal: Journal, relay: Relay, database: Database
) -> None:
    await exchange(journal)
    await relay.run_once()
    await exchange(journal, event(), event())
    with psycopg.connect(database.admin_url) as admin:  # restored from a copy, with the bus away meanwhile
        admin.execute("DELETE FROM jobs.event WHERE pos > 1")
        admin.execute("UPDATE jobs.journal_head SET pos = 1")
    relay.recheck()
    with pytest.raises(Diverged):
        await relay.run_once()
    assert journal.recent.take(1, 10) == []


async def _halted(journal: Journal) -> str:
    return (await journal.figures()).halted or ""
