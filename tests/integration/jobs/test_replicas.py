"""Two jobs services on one bus and one database: whoever is asked, the answer is the same."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from jobplane.chassis import bus as buses
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CancelJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.settings import Settings
from tests.integration.jobs.conftest import running, settings_for
from tests.integration.jobs.driving import Driver, done, message, send
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOON_S = 1.5
"""Less than waiting polls take to look by themselves."""
OFTEN = 12
"""Requests enough for both replicas to get some: all go to one of them once in 2,000 times."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def second(bus: Bus, database: Database, jobs: Settings, gateway: Connection) -> AsyncIterator[None]:
    """Another replica, once it sends heartbeats."""
    watcher = await buses.connect(bus.url("test"), user="test", name="watcher")
    beats = await watcher.subscribe("fleet.beat.jobs.jobs-2")
    async with running(settings_for(bus, database, instance="jobs-2"), gateway):
        await beats.next_msg(timeout=10)
        yield
    await buses.close(watcher)


async def test_a_waiting_poll_hears_of_a_job_that_another_replica_created(driver: Driver) -> None:
    for _ in range(OFTEN // 2):
        polling = asyncio.create_task(driver.lease(wait_ms=20_000))
        created = await driver.create()
        [leased] = await asyncio.wait_for(polling, SOON_S)
        assert leased.job == created.id
        assert await driver.report(done(leased)) == ["accepted"]


async def test_another_replica_gives_a_repeated_request_the_same_answer(driver: Driver) -> None:
    created = await driver.create_many(3, payload={"n": 1})
    request_id = new_id()
    first = await driver.lease(max=2, request_id=request_id)
    assert {job.job for job in first} < {job.id for job in created}
    for _ in range(OFTEN):
        again = await driver.lease(max=2, request_id=request_id, repeated=True)
        assert sorted(again, key=lambda job: job.job) == sorted(first, key=lambda job: job.job)


async def test_reports_and_beats_may_go_to_anybody(driver: Driver) -> None:
    await driver.create_many(OFTEN)
    leased = await driver.lease(max=OFTEN)
    for job in leased:
        assert (await driver.beat(*leased)).lost == []
        assert await driver.report(done(job)) == ["accepted"]
        leased = [other for other in leased if other is not job]
    assert {job.status for job in (await driver.page(queue=[driver.queue])).items} == {JobStatus.COMPLETED}


async def test_a_command_sent_many_times_is_carried_out_once(driver: Driver) -> None:
    created = await driver.create()
    wanted = message(CancelJob(job_id=JobId(created.id)))
    outcomes = await send(driver.gateway, *[wanted] * OFTEN)
    assert len({outcome.position for outcome in outcomes}) == 1
    assert await driver.events(created.id) == ["job.created.v1", "job.cancelled.v1"]


async def test_both_replicas_relay_and_no_event_is_doubled(driver: Driver, bus: Bus) -> None:
    await asyncio.gather(*(driver.create_many(25) for _ in range(4)))
    reader = await buses.connect(bus.url("audit-reader"), user="audit-reader", name="reader")
    position = (await driver.create()).position

    async def relayed() -> bool:
        answer = await reader.request("$JS.API.STREAM.INFO.EVT_JOBS", b"", timeout=2)
        return f'"last_seq":{position}'.encode() in answer.data and f'"messages":{position}'.encode() in answer.data

    await eventually(relayed)
    await buses.close(reader)
