"""The checkup looks at real servers, and says so when they are away."""

from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis import database as databases
from jobplane.chassis.bus import Connection
from jobplane.contracts.fleet import Check, CheckStatus, DetailedHealth
from jobplane.contracts.jobs import QueueStats
from jobplane.contracts.queries import JournalFigures
from jobplane.contracts.topology import DLQ
from jobplane.health import history
from jobplane.health.checkup import Checkup
from jobplane.health.probes import Probes
from jobplane.health.report import Measured, Unmeasured
from jobplane.health.subscribers import Listener
from jobplane.health.throughput import Cell, Counts
from tests.integration.health.conftest import Connect, JobsPeer
from tests.support.servers import Bus, Database, PrivateDatabase
from tests.support.waiting import eventually


def named(report: DetailedHealth) -> dict[str, Check]:
    return {check.name: check for check in report.checks}


@pytest.fixture
def checkup(pool: AsyncConnectionPool, reader: Connection) -> Checkup:
    return Checkup(pool, reader, Listener())


async def test_a_healthy_platform_is_ok_and_tells_its_figures(checkup: Checkup, jobs: JobsPeer) -> None:
    report = await checkup.run_once()
    found = named(report)
    slow = {"postgres.latency", "nats.round_trip"}  # a busy machine is none of this test's business
    assert [check for name, check in found.items() if check.status is not CheckStatus.OK and name not in slow] == []
    for name in (
        "postgres.latency",
        "postgres.connections",
        "postgres.size",
        "postgres.oldest_transaction",
        "nats.round_trip",
        "commands.backlog",
        "dead_letters",
        "relay.lag.jobs",
        "stream.fill.EVT_JOBS",
        "stream.fill.CMD",
    ):
        assert isinstance(found[name].value, int | float), name
        assert found[name].advice, name
        assert found[name].since <= report.generated_at


async def test_an_old_transaction_of_another_role_is_seen(
    pool: AsyncConnectionPool, reader: Connection, database: Database
) -> None:
    async with await AsyncConnection.connect(database.url("jobs")) as other:
        await other.execute("SELECT 1")
        assert await eventually(lambda: _oldest_transaction(pool, reader)) >= 0.1


async def _oldest_transaction(pool: AsyncConnectionPool, reader: Connection) -> float:
    measured = {item.rule: item for item in await Probes(pool, reader).postgres()}["postgres.oldest_transaction"]
    assert isinstance(measured, Measured)
    assert isinstance(measured.value, float)
    return measured.value


async def test_a_platform_without_its_jobs_service_fails_with_advice(checkup: Checkup) -> None:
    report = await checkup.run_once()
    check = named(report)["relay.lag.jobs"]
    assert report.status is check.status is CheckStatus.FAIL
    assert "the jobs service is not running" in check.advice


async def test_a_halted_journal_is_told(checkup: Checkup, jobs: JobsPeer) -> None:
    jobs.figures = JournalFigures(position=10, relayed=4, epoch=1, halted="diverged at 5")
    check = named(await checkup.run_once())["relay.lag.jobs"]
    assert (check.status, check.value) == (CheckStatus.FAIL, 6)
    assert "diverged at 5" in check.advice


async def test_waiting_and_stalled_queues_are_told(checkup: Checkup, jobs: JobsPeer, pool: AsyncConnectionPool) -> None:
    now = clock.now()
    jobs.queues = [
        QueueStats(queue="busy", pending=5, running=2, oldest_at=now - timedelta(seconds=1)),
        QueueStats(queue="late", pending=5, running=0, oldest_at=now - timedelta(minutes=10)),
        QueueStats(queue="stuck", pending=0, running=3, oldest_at=None),
    ]
    minutes = {"busy": now, "stuck": now - timedelta(minutes=20)}
    async with pool.connection() as conn:
        counts = {
            Cell(minute.replace(second=0, microsecond=0), queue, "k"): Counts(started=1)
            for queue, minute in minutes.items()
        }
        await history.add(conn, counts)
    found = named(await checkup.run_once())
    assert found["queue.oldest.busy"].status is CheckStatus.OK
    assert found["queue.oldest.late"].status is CheckStatus.WARN
    assert found["queue.stalled.busy"].status is CheckStatus.OK
    assert found["queue.stalled.late"].status is CheckStatus.OK
    assert found["queue.stalled.stuck"].status is CheckStatus.WARN


async def test_a_dead_letter_is_a_warning(checkup: Checkup, jobs: JobsPeer, connect: Connect) -> None:
    await (await connect("jobs-intake")).request("dlq.jobs.commands", b"poison")
    check = named(await checkup.run_once())["dead_letters"]
    assert (check.status, check.value) == (CheckStatus.WARN, 1)


async def test_a_missing_stream_is_told(checkup: Checkup, jobs: JobsPeer, connect: Connect) -> None:
    await (await connect("test")).jetstream().delete_stream(DLQ)
    found = named(await checkup.run_once())
    assert "stream not found" in found[f"stream.fill.{DLQ}"].advice


async def test_without_the_bus_there_is_still_a_report(checkup: Checkup, reader: Connection, bus: Bus) -> None:
    bus.kill()
    await eventually(lambda: not reader.is_connected)
    found = named(await checkup.run_once())
    assert found["postgres.latency"].status is not CheckStatus.FAIL
    for name in ("nats.round_trip", "commands.backlog", "relay.lag.jobs", "stream.fill.EVT_JOBS"):
        assert found[name].status is CheckStatus.FAIL, name
        assert found[name].advice.startswith("No answer"), found[name].advice


async def test_many_callers_share_one_look(checkup: Checkup, jobs: JobsPeer) -> None:
    first = await checkup.latest()
    assert await checkup.latest() is first
    assert await checkup.run_once() is not first


async def test_since_is_the_same_after_a_restart(
    checkup: Checkup, jobs: JobsPeer, pool: AsyncConnectionPool, reader: Connection
) -> None:
    before = named(await checkup.run_once())
    after = named(await Checkup(pool, reader, Listener()).run_once())
    assert {name: check.since for name, check in after.items()} == {name: check.since for name, check in before.items()}


async def test_since_moves_when_a_status_changes(checkup: Checkup, jobs: JobsPeer) -> None:
    before = named(await checkup.run_once())
    jobs.figures = JournalFigures(position=5000, relayed=10, epoch=1)
    after = named(await checkup.run_once())
    assert after["relay.lag.jobs"].since > before["relay.lag.jobs"].since
    assert after["nats.round_trip"].since == before["nats.round_trip"].since


@pytest.fixture
async def own_pool(private_database: PrivateDatabase) -> AsyncIterator[AsyncConnectionPool]:
    opened = await databases.open_pool(private_database.url("health"), schema="health", service="health")
    yield opened
    await opened.close()


async def test_without_the_database_there_is_a_report_in_time_and_since_is_remembered(
    own_pool: AsyncConnectionPool, private_database: PrivateDatabase, reader: Connection, jobs: JobsPeer
) -> None:
    checkup = Checkup(own_pool, reader, Listener())
    before = named(await checkup.run_once())
    private_database.stop()
    begun = clock.now()
    report = await checkup.run_once()
    assert clock.now() - begun < timedelta(seconds=3)
    found = named(report)
    assert found["postgres.latency"].status is CheckStatus.FAIL
    assert found["nats.round_trip"].since == before["nats.round_trip"].since
    assert report.throughput == []
    private_database.start()
    failed_at = found["postgres.latency"].since
    await eventually(lambda: _recovers(checkup), timeout=20)
    assert named(await checkup.latest())["postgres.latency"].since > failed_at


async def test_a_database_that_hangs_does_not_hold_up_the_report(
    checkup: Checkup, jobs: JobsPeer, database: Database
) -> None:
    before = named(await checkup.run_once())
    with psycopg.connect(database.admin_url) as owner:
        owner.execute("LOCK TABLE health.check_standing, health.minute_rate IN ACCESS EXCLUSIVE MODE")
        begun = clock.now()
        found = named(await checkup.run_once())
        assert clock.now() - begun < timedelta(seconds=2.5)
    assert found["queues.read"].status is CheckStatus.FAIL
    assert found["nats.round_trip"].since == before["nats.round_trip"].since


async def _recovers(checkup: Checkup) -> bool:
    return named(await checkup.run_once())["postgres.latency"].status is not CheckStatus.FAIL


async def test_a_probe_that_hangs_is_a_failure_of_what_it_looks_at(
    pool: AsyncConnectionPool, reader: Connection, connect: Connect
) -> None:
    silent = await connect("jobs")

    async def never(_message: object) -> None:
        """Hear the question, answer nothing."""

    await silent.subscribe("jobs.query.*", cb=never)
    await silent.flush()
    measured = await Probes(pool, reader, time_limit_s=0.2).measure()
    failed = {item.rule for item in measured if isinstance(item, Unmeasured)}
    assert failed == {"relay.lag", "queues.read"}
