"""Pages of a journal: events exactly as the bus carries them, for those who may ask."""

import json

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import journal_pages
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.relay import Relay
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.queries import JOURNAL_PAGE, ReadJournal
from jobplane.contracts.topology import EVT_JOBS, MAX_MESSAGE_BYTES
from tests.integration.chassis.projecting import owner
from tests.integration.chassis.writing import append, event, fill, with_reason
from tests.support.retention import assert_as_stored
from tests.support.servers import Bus
from tests.support.waiting import eventually


async def test_events_from_pages_are_those_of_the_stream(
    bus: Bus, journal: Journal, relay: Relay, reading: Connection, following: Connection
) -> None:
    """Subject, headers and bytes; whatever characters are in them."""
    odd = 'ä "quoted" \\ \u0007 語 \U0001f600 % \x7f'
    told = event(odd=odd)
    await append(
        journal,
        told,
        event(told.stream_id, 2, n=1.5e300, nothing=None, nested={"a": [1, {}]}),
        with_reason(event(), "because of 100 % „no“\tway: +1&2\n"),
    )
    assert await relay.run_once() == 3
    async with owner(bus, journal):
        page = await journal_pages.ask(following, EVT_JOBS, 0, 500)
    assert [one.position for one in page.events] == [1, 2, 3]
    await assert_as_stored(page, reading, EVT_JOBS)
    assert (page.figures.position, page.figures.epoch, page.kept_from) == (3, 1, 1)


async def test_pages_stay_under_the_limit_of_a_message(bus: Bus, journal: Journal, following: Connection) -> None:
    await append(journal, *(event(text='"\\語' * 9_000) for _ in range(40)))
    query = ReadJournal(after=0).model_dump_json().encode()
    seen: list[int] = []
    async with owner(bus, journal):
        answer = await following.request(f"jobs.query.{JOURNAL_PAGE}", query, timeout=10)
        assert len(answer.data) < MAX_MESSAGE_BYTES
        while page := (await journal_pages.ask(following, EVT_JOBS, len(seen), 500)).events:
            assert len(page) < 40
            seen += [one.position for one in page]
    assert seen == list(range(1, 41))


async def test_an_event_that_is_larger_than_a_page_has_one_for_itself(
    bus: Bus, journal: Journal, following: Connection
) -> None:
    await append(journal, event(text="x" * 700_000), event())
    async with owner(bus, journal):
        assert [one.position for one in (await journal_pages.ask(following, EVT_JOBS, 0, 500)).events] == [1]
        assert [one.position for one in (await journal_pages.ask(following, EVT_JOBS, 1, 500)).events] == [2]


@pytest.mark.parametrize("user", ["gateway", "health-reader", "audit-reader"])
async def test_who_may_ask_for_pages(bus: Bus, journal: Journal, user: str) -> None:
    await fill(journal, 2)
    async with bus.connected(user) as nc, owner(bus, journal):
        page = await journal_pages.ask(nc, EVT_JOBS, 1, 500)
        assert [one.position for one in page.events] == [2]
        assert json.loads(page.events[0].data)["n"] == 1


@pytest.mark.parametrize("user", ["audit-reader", "health-reader"])
async def test_readers_may_not_ask_for_anything_else(bus: Bus, user: str) -> None:
    allowed = f"jobs.query.{JOURNAL_PAGE}"
    heard: list[str] = []
    async with bus.connected(user) as nc, bus.connected("test") as test:
        await test.subscribe_sink("*.query.*", lambda subject, *_: heard.append(subject))
        await test.flush()
        for subject in ("jobs.query.list", "jobs.query.detail", "audit.query.list", "gateway.query.list", allowed):
            await nc.publish(subject, b"{}")
        await eventually(lambda: heard)
    assert heard == [allowed]


async def test_a_database_that_is_away_makes_the_owner_unavailable(
    bus: Bus, journal: Journal, pool: AsyncConnectionPool, following: Connection
) -> None:
    async with owner(bus, journal):
        await pool.close()
        with pytest.raises(Unavailable):
            await journal_pages.ask(following, EVT_JOBS, 0, 500)
