"""The jobs service while a part that it needs is away: nothing is lost, nothing is burnt, it goes on by itself."""

import asyncio
import contextlib
import functools
import itertools
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from jobplane.chassis import bus as buses
from jobplane.chassis import queries
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CancelJob
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus, JobView
from jobplane.contracts.queries import JournalFigures, Nothing
from jobplane.contracts.subjects import lease
from jobplane.contracts.workers import (
    Beat,
    BeatReply,
    DoneItem,
    DoneReply,
    DoneReport,
    LeasedJob,
    LeaseReply,
    LeaseRequest,
)
from tests.integration.jobs.conftest import running, settings_for
from tests.integration.jobs.driving import Driver, done, message, publish
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.support import servers
from tests.support.servers import Bus, Database, PrivateDatabase
from tests.support.waiting import eventually

CUTS = 5


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    """A server that may be taken away."""
    server = Bus(tmp_path / "bus")
    server.start()
    yield server
    server.stop()


@contextlib.asynccontextmanager
async def service(bus: Bus, database: Database | PrivateDatabase, owner_url: str) -> AsyncIterator[Driver]:
    """A service of its own, and who drives it."""
    gateway = await buses.connect(bus.url("gateway"), user="gateway", name="gateway")
    worker = await buses.connect(bus.url("worker"), user="worker", name="worker")
    async with running(settings_for(bus, database), gateway):
        yield Driver(gateway, worker, "default", owner_url)
    for connection in (gateway, worker):
        await buses.close(connection)
    assert_consistent(owner_url)


@pytest.fixture
async def driver(bus: Bus, migrated_template: Database) -> AsyncIterator[Driver]:
    """On a shared database server, which stays."""
    database = servers.copy_of(migrated_template)
    async with service(bus, database, database.admin_url) as driving:
        yield driving
    servers.drop(database)


@pytest.fixture
async def bare(bus: Bus, private_database: PrivateDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Driver]:
    """On a database server that may be taken away; the service waits for it more briefly than usual."""
    monkeypatch.setattr("jobplane.chassis.database._LEND_S", 0.5)
    async with service(bus, private_database, private_database.admin_url) as driving:
        yield driving


async def answers_of_workers(driver: Driver) -> list[str | None]:
    """Errors of a lease, a beat and a report."""
    wanted = LeaseRequest(request_id=new_id(), worker="w", kinds=["test.echo"])
    item = DoneItem(job=JobId(new_id()), token="t", outcome="completed")
    leased, beat, told = await asyncio.gather(
        driver.ask(lease("default"), wanted, LeaseReply),
        driver.ask("jobs.beat", Beat(worker="w"), BeatReply),
        driver.ask("jobs.done", DoneReport(worker="w", items=[item]), DoneReply),
    )
    return [leased.error, beat.error, told.error]


async def test_commands_wait_while_the_database_is_away(bare: Driver, private_database: PrivateDatabase) -> None:
    created = await bare.create()
    [leased] = await bare.lease()
    private_database.stop()

    inbox = bare.gateway.new_inbox()
    waiting = await bare.gateway.subscribe(inbox)
    await publish(bare.gateway, message(CancelJob(job_id=JobId(created.id))), inbox)
    assert await answers_of_workers(bare) == ["unavailable"] * 3
    with pytest.raises(Unavailable) as away:
        await bare.job(created.id)
    assert away.value.code == "database_unavailable"

    private_database.start()
    outcome = CommandOutcome.model_validate_json((await waiting.next_msg(timeout=15)).data)
    assert (outcome.status, outcome.position) == ("done", 3)
    assert await bare.report(done(leased)) == ["accepted"]
    assert (await bare.job(created.id)).stop == "finished_anyway"
    assert (await bare.create()).status is JobStatus.PENDING


async def test_database_connections_that_are_cut_lose_and_double_nothing(driver: Driver) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'jobplane_jobs' AND datname = %s"
    [(name,)] = rows_of(driver.owner_url, "SELECT current_database()")
    created: list[JobView] = []
    finished: list[str] = []

    async def work() -> None:
        """As a worker does: repeat each request and each report until it is answered."""
        while len(finished) < CUTS * 10:
            for job in await leased(driver):
                await eventually(functools.partial(reported, driver, job), timeout=15)
                finished.append(job.job)

    working = asyncio.create_task(work())
    for _ in range(CUTS):
        creating = asyncio.create_task(driver.create_many(10))
        await eventually(lambda: driver.gateway.pending_data_size == 0)
        await asyncio.to_thread(rows_of, driver.owner_url, cut, (name,))
        created += await creating
    await asyncio.wait_for(working, 30)
    assert sorted(finished) == sorted(job.id for job in created)
    assert {(await driver.job(job.id)).run for job in created} == {1}


async def leased(driver: Driver) -> list[LeasedJob]:
    """What one request was given, however often it had to be asked."""
    request_id = new_id()
    for repeated in itertools.chain([False], itertools.repeat(True)):
        with contextlib.suppress(AssertionError):  # unavailable just now
            return await driver.lease(request_id=request_id, wait_ms=500, repeated=repeated)
    raise AssertionError


async def reported(driver: Driver, job: LeasedJob) -> bool:
    return await driver.report(done(job)) == ["accepted"]


async def test_a_killed_bus_loses_no_run_and_no_command(driver: Driver, bus: Bus) -> None:
    created = await driver.create_many(3)
    leased = await driver.lease()
    bus.kill()
    await eventually(lambda: not driver.worker.is_connected and not driver.gateway.is_connected)
    bus.start()
    await eventually(lambda: driver.worker.is_connected and driver.gateway.is_connected)
    await serves_again(driver)
    assert (await driver.beat(*leased)).lost == []
    assert await driver.report(*(done(job) for job in leased)) == ["accepted"] * 3
    assert {(await driver.job(job.id)).status for job in created} == {JobStatus.COMPLETED}


async def test_a_wiped_bus_is_healed_from_the_journal(driver: Driver, bus: Bus) -> None:
    await driver.create_many(5)
    bus.stop()
    shutil.rmtree(bus.directory / "nats" / "store")
    await eventually(lambda: not driver.worker.is_connected and not driver.gateway.is_connected)
    bus.start()
    await eventually(lambda: driver.worker.is_connected and driver.gateway.is_connected)
    await serves_again(driver)
    position = (await driver.create()).position

    async def relayed() -> bool:
        figures = await queries.ask(driver.gateway, "jobs", "journal", Nothing(), JournalFigures)
        assert figures.halted is None
        return figures.relayed == figures.position >= position

    await eventually(relayed)


async def test_while_the_journal_is_halted_everybody_is_told_and_nothing_happens_later(driver: Driver) -> None:
    created = await driver.create()
    change(driver.owner_url, "UPDATE journal_head SET halted = 'a test'")
    refused = await driver.do(CancelJob(job_id=JobId(created.id)))
    assert (refused.status, refused.code) == ("refused", "journal_diverged")
    wanted = LeaseRequest(request_id=new_id(), worker="w", kinds=["test.echo"], wait_ms=3000)
    assert (await driver.ask(lease("default"), wanted, LeaseReply)).error == "unavailable"
    figures = await queries.ask(driver.gateway, "jobs", "journal", Nothing(), JournalFigures)
    assert figures.halted == "a test"
    change(driver.owner_url, "UPDATE journal_head SET halted = NULL")
    assert (await driver.create()).status is JobStatus.PENDING
    assert (await driver.job(created.id)).status is JobStatus.PENDING


async def test_an_orderly_stop_answers_those_who_wait(bus: Bus, migrated_template: Database) -> None:
    database = servers.copy_of(migrated_template)
    async with service(bus, database, database.owner_url) as driver:
        polling = asyncio.create_task(driver.lease(wait_ms=20_000))
        assert await driver.lease(wait_ms=0, kinds=["nothing"]) == []
        assert not polling.done()
    # The service has stopped before the connections were closed.
    assert await polling == []
    servers.drop(database)


async def serves_again(driver: Driver) -> None:
    """Commands are taken again: the stream is there, and somebody pulls from it."""
    inbox = driver.gateway.new_inbox()
    answers = await driver.gateway.subscribe(inbox)

    async def served() -> bool:
        with contextlib.suppress(NatsError):
            await publish(driver.gateway, message(driver.creation(kind="test.probe")), inbox)
            await answers.next_msg(timeout=0.5)
            return True
        return False

    await eventually(served, timeout=20)
    await answers.unsubscribe()
