"""The jobs service answers with pages of its journal: what its relay publishes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from jobplane.chassis import bus as buses
from jobplane.chassis import journal_pages
from jobplane.chassis.bus import Connection
from jobplane.contracts.commands import RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.topology import EVT_JOBS
from tests.integration.jobs.driving import Driver
from tests.support.retention import assert_as_stored
from tests.support.servers import Bus
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anybody(bus: Bus) -> AsyncIterator[Connection]:
    """May do everything."""
    async with bus.connected("test") as connection:
        yield connection


@pytest.mark.parametrize("user", ["audit-reader", "health-reader"])
async def test_a_page_has_what_the_stream_has(driver: Driver, bus: Bus, anybody: Connection, user: str) -> None:
    job = await driver.ended("failed")
    await driver.do(RetryJob(job_id=JobId(job)), reason="once more: 100 % „sure“")
    await driver.create_many(7)
    nc = await buses.connect(bus.url(user), user=user, name=f"follower {user}")

    async def relayed() -> bool:
        page = await journal_pages.ask(nc, EVT_JOBS, 0, 1)
        return page.figures.relayed == page.figures.position

    await eventually(relayed)
    page = await journal_pages.ask(nc, EVT_JOBS, 0, 500)
    assert [event.position for event in page.events] == list(range(1, page.figures.position + 1))
    assert page.figures.position > 10
    await assert_as_stored(page, anybody, EVT_JOBS)
    some = await journal_pages.ask(nc, EVT_JOBS, 5, 2)
    assert some.events == page.events[5:7]
    await buses.close(nc)
