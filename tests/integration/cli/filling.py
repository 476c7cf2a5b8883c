"""A platform with a bit of everything in it: real services write it, then stop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from nats.errors import Error as NatsError

from jobplane.audit.__main__ import run as run_audit
from jobplane.audit.settings import AuditSettings
from jobplane.chassis import bus as buses
from jobplane.chassis import database as databases
from jobplane.chassis import queries
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.chassis.new_events import NewEvent
from jobplane.chassis.relay import Relay, creator
from jobplane.cli.site import Site
from jobplane.contracts import subjects
from jobplane.contracts.actors import system
from jobplane.contracts.admin_events import LoginSucceeded
from jobplane.contracts.commands import CancelJob, EditJob, ForceRunJob, RestoreJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.operations import BulkAction, OperationStatus, OperationView, PlanOperation
from jobplane.contracts.queries import OneOperation
from jobplane.contracts.queues import LimitQueue, Limits, PauseQueue, Rate, ResumeQueue
from jobplane.contracts.topology import EVT_ADMIN
from jobplane.jobs.__main__ import serve
from jobplane.jobs.decider import ArchiveJob
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.settings import Settings
from jobplane.jobs.wishes import Cause, Wish
from jobplane.local.data_dir import DataDirectory
from jobplane.local.ports import LOOPBACK
from tests.integration.jobs.driving import ADMIN, Driver, done, failed
from tests.support.servers import SECRETS, Bus, Database
from tests.support.waiting import eventually

LOGINS = 4


def site_of(database: Database, bus: Bus, directory: Path) -> Site:
    """How the commands would find these servers."""
    return Site(
        data=DataDirectory(directory),
        credentials=SECRETS,
        database=f"postgresql://{LOOPBACK}:{database.server.port}/{database.name}",
        nats=f"nats://{LOOPBACK}:{bus.port}",
    )


async def fill(database: Database, bus: Bus) -> None:
    """Run jobs of every fate, let audit read all of it, and stop the services."""
    async with _services(database, bus):
        gateway = await buses.connect(bus.url("gateway"), user="gateway", name="test gateway")
        worker = await buses.connect(bus.url("worker"), user="worker", name="test worker")
        driver = Driver(gateway, worker, queue="queue", owner_url=database.owner_url)
        await eventually(lambda: _answers(driver), timeout=15)
        await _live(driver, database)
        await _log_in(database, bus)
        await eventually(lambda: _audited(database), timeout=15)
        await buses.close(gateway)
        await buses.close(worker)


async def _live(driver: Driver, database: Database) -> None:
    completed = await driver.create(payload={"a": 1}, unique_key="once")
    await driver.do(driver.creation(unique_key="once"))
    [leased] = await driver.lease(max=1)
    assert leased.job == completed.id
    await driver.report(done(leased, result={"b": 2}))
    failing = await driver.create(payload={"a": 2}, max_attempts=1)
    [leased] = await driver.lease(max=1)
    await driver.report(failed(leased))
    await driver.do(RetryJob(job_id=JobId(failing.id)))
    [leased] = await driver.lease(max=1)
    await driver.report(done(leased, "released"))
    await driver.do(ForceRunJob(job_id=JobId(failing.id)))
    [leased] = await driver.lease(max=1)
    await driver.do(CancelJob(job_id=JobId(failing.id)))
    await driver.report(done(leased, "cancelled"))
    await driver.do(RetryJob(job_id=JobId(completed.id)))
    corrected = JobId(await driver.pending(payload={"a": 5}))
    await driver.do(CancelJob(job_id=corrected))
    await driver.do(RestoreJob(job_id=corrected))
    await driver.do(
        EditJob(job_id=corrected, queue="elsewhere", payload={"a": 6}, max_attempts=9), reason="it was wrong"
    )
    await driver.ended("cancelled")
    await _archive(database)
    await _control(driver)
    await driver.running(payload={"a": 3})
    await driver.pending(payload={"a": 4})


async def _control(driver: Driver) -> None:
    """A queue and a kind under control, and an operation that did one job and skipped another."""
    for command in (PauseQueue(queue="other", drain=True), ResumeQueue(queue="other")):
        await driver.do(command)
    await driver.do(LimitQueue(kind="test.other", limits=Limits(concurrency=2, rate=Rate(starts=3, burst=4))))
    ids = [JobId(await driver.pending(queue="other")), JobId(await driver.pending(queue="other"))]
    await driver.do(CancelJob(job_id=ids[0]))
    wanted = PlanOperation(operation_id=new_id(), action=BulkAction.CANCEL, ids=ids, then_run=True)
    await driver.do(wanted, reason="a test")

    async def ended() -> bool:
        query = OneOperation(operation_id=wanted.operation_id)
        view = await queries.ask(driver.gateway, "jobs", "operation", query, OperationView)
        return view.status is OperationStatus.DONE

    await eventually(ended)


async def _archive(database: Database) -> None:
    """Let go of the cancelled job that waited: one that ran stays."""
    pool = await databases.open_pool(database.url("jobs"), schema="jobs", service="jobs")
    ledger = Ledger(PostgresStore(Journal(pool)))
    async with pool.connection() as conn:
        row = await (await conn.execute("SELECT id FROM job WHERE status = 'CANCELLED' AND stop IS NULL")).fetchone()
    assert row is not None
    [settled] = await ledger.settle([Wish(ArchiveJob(row[0], timedelta()), Cause(system("archiver")))])
    assert settled.event is not None
    await pool.close()


async def _log_in(database: Database, bus: Bus) -> None:
    pool = await databases.open_pool(database.url("gateway"), schema="gateway", service="gateway")
    nc = await buses.connect(bus.url("gateway-relay"), user="gateway-relay", name="relay")
    journal = Journal(pool)
    relay = Relay(
        journal,
        nc,
        stream=EVT_ADMIN,
        source="jobplane/gateway",
        subject_of=lambda event: subjects.admin_event(event.type),
        create=creator(bus.url("topology"), EVT_ADMIN),
    )
    await append_logins(journal, LOGINS)
    assert await relay.run_once() == LOGINS
    await buses.close(nc)
    await pool.close()


async def append_logins(journal: Journal, count: int) -> None:
    """Events that no other table depends on."""
    async with journal.transaction() as tx:
        await tx.append(
            [
                NewEvent(
                    stream_id=new_id(),
                    version=1,
                    type=LoginSucceeded.TYPE,
                    data=LoginSucceeded(credential="session").model_dump_json().encode(),
                    actor=ADMIN,
                    correlation_id=new_id(),
                    traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
                )
                for _ in range(count)
            ]
        )


@contextlib.asynccontextmanager
async def _services(database: Database, bus: Bus) -> AsyncIterator[None]:
    jobs: dict[str, Any] = {
        "instance": "jobs-1",
        "nats_url": bus.url("jobs"),
        "intake_nats_url": bus.url("jobs-intake"),
        "relay_nats_url": bus.url("jobs-relay"),
        "topology_nats_url": bus.url("topology"),
        "database_url": database.url("jobs"),
    }
    audit: dict[str, Any] = {
        "instance": "audit-1",
        "nats_url": bus.url("audit"),
        "reader_nats_url": bus.url("audit-reader"),
        "database_url": database.url("audit"),
    }
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(serve(Settings(**jobs), stop)),
        asyncio.create_task(run_audit(AuditSettings(**audit), stop)),
    ]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 15)


async def _answers(driver: Driver) -> bool:
    try:
        return b'"ok"' in (await driver.gateway.request("jobs.query.journal", b"{}", timeout=0.3)).data
    except (NatsError, TimeoutError):
        return False


async def _audited(database: Database) -> bool:
    query = """
        SELECT (SELECT pos FROM jobs.journal_head), (SELECT pos FROM gateway.journal_head),
            (SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_JOBS'),
            (SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_ADMIN')
    """
    pool = await databases.open_pool(database.admin_url, schema="public", service="test", min_size=1, max_size=1)
    try:
        async with pool.connection() as conn:
            row = await (await conn.execute(query)).fetchone()
    finally:
        await pool.close()
    return row is not None and row[:2] == row[2:]
