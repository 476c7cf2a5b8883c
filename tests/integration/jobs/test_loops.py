"""The loops of the service, called one by one: rescuer, beat service, scheduler, pruner."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis.journal import Journal
from jobplane.contracts.commands import CancelJob, ForceRunJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus, JobView
from jobplane.contracts.queries import OneJob
from jobplane.jobs.decider import StopReported
from jobplane.jobs.job import Job
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.pruner import Pruner
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.rescuer import BeatService, Rescuer
from jobplane.jobs.scheduler import Scheduler
from jobplane.jobs.wishes import Settled
from tests.integration.jobs import wishing
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.integration.jobs.wishing import by_worker, command, create, start
from tests.support import servers
from tests.support.servers import Database

View = Callable[[Job], Awaitable[JobView]]


@pytest.fixture
def database(migrated_template: Database) -> Iterator[Database]:
    """A database per test, where beats could be served for an hour."""
    copy = servers.copy_of(migrated_template)
    beats_served(copy, since_s=3600)
    yield copy
    assert_consistent(copy.owner_url)
    servers.drop(copy)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    async with database.pool("jobs") as opened:
        yield opened


@pytest.fixture
def rescuer(ledger: Ledger, pool: AsyncConnectionPool) -> Rescuer:
    return Rescuer(ledger, pool)


@pytest.fixture
def view(pool: AsyncConnectionPool) -> View:
    model = ReadModel(pool)
    return lambda job: model.one(OneJob(job_id=job.id))


def beats_served(database: Database, *, since_s: float, left_s: float = 3600) -> None:
    change(
        database.owner_url,
        "UPDATE beat_service SET since = clock_timestamp() - %s * interval '1 s', "
        "served_until = clock_timestamp() + %s * interval '1 s'",
        (since_s, left_s),
    )


def past(database: Database, job: Job, column: str = "lease_until", seconds: float = 10) -> None:
    statement = f"UPDATE job SET {column} = clock_timestamp() - %s * interval '1 s' WHERE id = %s"
    assert change(database.owner_url, statement, (seconds, job.id)) == 1


def restore(database: Database, job: Job, column: str, event: str) -> None:
    """What was moved must not contradict the events."""
    statement = (
        f"UPDATE job SET {column} = e.at FROM event e WHERE e.stream_id = job.id AND e.type = %s AND job.id = %s"
    )
    assert change(database.owner_url, statement, (event, job.id)) == 1


async def lost_run(ledger: Ledger, database: Database, job_id: JobId) -> Job:
    job = await start(ledger, job_id)
    past(database, job)
    return job


async def test_a_lost_run_is_tried_again_after_a_pause_and_does_not_count(
    ledger: Ledger, rescuer: Rescuer, database: Database, view: View
) -> None:
    job = await lost_run(ledger, database, (await create(ledger)).id)
    before = clock.now()
    assert await rescuer.run_once() == 1
    seen = await view(job)
    assert (seen.status, seen.attempt, seen.run, seen.worker) == (JobStatus.PENDING, 0, 1, "worker-1")
    assert timedelta(seconds=1.4) < seen.run_at - before < timedelta(seconds=3.5)
    assert await rescuer.run_once() == 0


async def test_a_job_whose_worker_was_lost_three_times_has_failed(
    ledger: Ledger, rescuer: Rescuer, database: Database, view: View
) -> None:
    job = await create(ledger)
    for _ in range(3):
        await lost_run(ledger, database, job.id)
        assert await rescuer.run_once() == 1
        if (await view(job)).status is JobStatus.PENDING:
            await wishing.settle(ledger, command(ForceRunJob(job_id=job.id)))
    seen = await view(job)
    assert (seen.status, seen.run, seen.attempt) == (JobStatus.FAILED, 3, 0)
    assert seen.error is not None
    assert seen.error.type == "orphaned"
    assert "worker-1" in seen.error.message


async def test_a_run_whose_lease_lasts_is_left_alone(
    ledger: Ledger, rescuer: Rescuer, view: View, database: Database
) -> None:
    job = await start(ledger, (await create(ledger)).id, lease_ms=60_000)
    assert await rescuer.run_once() == 0
    assert (await view(job)).status is JobStatus.RUNNING


@pytest.mark.parametrize(("since_s", "left_s"), [(0.5, 3600), (3600, -1)], ids=["just back", "away"])
async def test_nothing_expires_before_workers_had_a_whole_lease_to_be_heard(
    ledger: Ledger, rescuer: Rescuer, database: Database, view: View, since_s: float, left_s: float
) -> None:
    job = await start(ledger, (await create(ledger)).id, lease_ms=20_000)
    past(database, job)
    beats_served(database, since_s=since_s, left_s=left_s)
    assert await rescuer.run_once() == 0
    assert (await view(job)).status is JobStatus.RUNNING
    beats_served(database, since_s=20.1)
    assert await rescuer.run_once() == 1


async def test_the_beat_service_notices_its_own_pauses(pool: AsyncConnectionPool, database: Database) -> None:
    answering = True

    async def answers() -> bool:
        return answering

    service = BeatService(pool, answers, lease_ms=30_000)

    def seen() -> tuple[bool, bool]:
        """Whether beats count as served since long ago, and for a while from now on."""
        query = "SELECT since < now() - interval '1 min', served_until > now() + interval '5 s' FROM beat_service"
        [row] = rows_of(database.owner_url, query)
        return row[0], row[1]

    beats_served(database, since_s=3600, left_s=1)
    await service.run_once()
    assert seen() == (True, True)
    beats_served(database, since_s=3600, left_s=-1)
    answering = False
    await service.run_once()
    assert seen() == (True, False), "nothing is noted while the bus is away"
    answering = True
    await service.run_once()
    assert seen() == (False, True), "after a pause the time counts anew"


async def test_a_run_that_takes_too_long_has_failed_although_it_beats(
    ledger: Ledger, rescuer: Rescuer, database: Database, view: View
) -> None:
    created = await create(ledger, timeout_ms=5000, max_attempts=2)
    job = await start(ledger, created.id, lease_ms=60_000)
    assert await rescuer.run_once() == 0
    past(database, job, "started_at")
    assert await rescuer.run_once() == 1
    seen = await view(job)
    restore(database, job, "started_at", "job.started.v1")
    assert (seen.status, seen.attempt) == (JobStatus.PENDING, 1)
    assert seen.error is not None
    assert (seen.error.type, seen.error.message) == ("timeout", "The run took longer than its 5 seconds.")


async def test_the_last_attempt_that_takes_too_long_fails_the_job(
    ledger: Ledger, rescuer: Rescuer, database: Database, view: View
) -> None:
    job = await start(ledger, (await create(ledger, timeout_ms=100, max_attempts=1)).id)
    past(database, job, "started_at")
    assert await rescuer.run_once() == 1
    assert (await view(job)).status is JobStatus.FAILED
    restore(database, job, "started_at", "job.started.v1")


async def test_a_stop_that_nobody_confirmed_for_a_lease_is_settled(
    ledger: Ledger, rescuer: Rescuer, database: Database, view: View
) -> None:
    job = await start(ledger, (await create(ledger)).id, lease_ms=60_000)
    await wishing.settle(ledger, command(CancelJob(job_id=job.id)))
    assert await rescuer.run_once() == 0
    past(database, job, "finished_at", 61)
    assert await rescuer.run_once() == 1
    restore(database, job, "finished_at", "job.cancelled.v1")
    assert (await view(job)).stop == "unconfirmed"
    assert job.token is not None
    await wishing.settle(ledger, by_worker(StopReported(job.id, job.token, "cancelled")))
    assert (await view(job)).stop == "confirmed", "a late truth is better than none"


async def test_whoever_ends_a_run_from_outside_tells_its_worker(pool: AsyncConnectionPool, database: Database) -> None:
    told: list[Settled] = []
    ledger = Ledger(PostgresStore(Journal(pool)), told.extend)
    job = await lost_run(ledger, database, (await create(ledger)).id)
    await Rescuer(ledger, pool).run_once()
    assert told[-1].wish.fences == job.token


async def test_two_rescuers_end_each_run_once(ledger: Ledger, pool: AsyncConnectionPool, database: Database) -> None:
    for _ in range(20):
        await lost_run(ledger, database, (await create(ledger)).id)
    ended = await asyncio.gather(*(Rescuer(ledger, pool).run_once() for _ in range(4)))
    assert sum(ended) == 20


async def test_the_scheduler_makes_ready_what_is_due(
    ledger: Ledger, pool: AsyncConnectionPool, database: Database
) -> None:
    woken: list[str] = []
    scheduler = Scheduler(pool, woken.append)
    soon = await create(ledger, queue="scheduled", run_at=clock.now() + timedelta(hours=1))
    later = await create(ledger, queue="scheduled", run_at=clock.now() + timedelta(hours=1))

    def ready() -> dict[str, bool]:
        return dict(rows_of(database.owner_url, "SELECT id, ready FROM job WHERE queue = 'scheduled'"))

    assert await scheduler.run_once() == 0
    assert ready() == {soon.id: False, later.id: False}
    past(database, soon, "run_at")
    assert await scheduler.run_once() == 1
    assert ready() == {soon.id: True, later.id: False}
    assert woken == ["scheduled"]
    assert await scheduler.run_once() == 0
    change(database.owner_url, "UPDATE job SET run_at = %s WHERE id = %s", (soon.run_at, soon.id))


async def test_the_pruner_forgets_outcomes_after_seven_days(
    ledger: Ledger, pool: AsyncConnectionPool, database: Database
) -> None:
    # The old one found its key taken: it caused no event, which would outlive its outcome.
    young, old = (command(wishing.creation(unique_key="daily")) for _ in range(2))
    await wishing.settle(ledger, young, old)
    assert old.delivered is not None
    assert young.delivered is not None
    age = "UPDATE command_outcome SET at = now() - %s * interval '1 day' WHERE command_id = %s"
    change(database.owner_url, age, (7.1, old.delivered.command_id))
    change(database.owner_url, age, (6.9, young.delivered.command_id))
    assert await Pruner(pool).run_once() == 1
    kept = {row[0] for row in rows_of(database.owner_url, "SELECT command_id FROM command_outcome")}
    assert old.delivered.command_id not in kept
    assert young.delivered.command_id in kept
