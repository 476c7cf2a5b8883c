"""Queues are paused, resumed, drained and limited by commands; everybody sees it, and it happens once."""

import asyncio
from typing import Any

import pytest

from jobplane.chassis import queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import ForceRunJob
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.queries import Nothing, OneKind, OneQueue
from jobplane.contracts.queues import (
    LimitQueue,
    Limits,
    PauseQueue,
    QueueControl,
    QueueList,
    QueueState,
    QueueView,
    Rate,
    ResumeQueue,
)
from tests.integration.jobs.conftest import running, settings_for
from tests.integration.jobs.driving import ADMIN, KIND, Driver, done
from tests.integration.jobs.truth import rows_of
from tests.support.servers import Bus, Database

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = Limits(concurrency=2, rate=Rate(starts=10, every_s=60, burst=3))


async def view(driver: Driver, queue: str | None = None) -> QueueView:
    asked = OneQueue(queue=queue or driver.queue)
    return await queries.ask(driver.gateway, "jobs", "queue", asked, QueueView)


async def kind(driver: Driver, name: str) -> QueueControl:
    return await queries.ask(driver.gateway, "jobs", "kind", OneKind(kind=name), QueueControl)


async def listed(driver: Driver, queue: str) -> bool:
    found = await queries.ask(driver.gateway, "jobs", "queues", Nothing(), QueueList)
    return queue in [item.queue for item in found.queues]


def control(outcome: CommandOutcome) -> QueueControl:
    assert outcome.status == "done", outcome
    return QueueControl.model_validate(outcome.facts)


def events(driver: Driver, outcome: CommandOutcome) -> list[tuple[Any, ...]]:
    return rows_of(driver.owner_url, "SELECT type, version FROM event WHERE command_id = %s", (outcome.command_id,))


async def test_the_answer_shows_the_queue_as_it_is_now(driver: Driver) -> None:
    outcome = await driver.do(PauseQueue(queue=driver.queue), reason="the disk is full")
    shown = control(outcome)
    assert (shown.queue, shown.kind, shown.state, shown.version) == (driver.queue, None, QueueState.PAUSED, 1)
    assert shown.paused is not None
    assert (shown.paused.by, shown.paused.reason) == (ADMIN, "the disk is full")
    assert events(driver, outcome) == [("queue.paused.v1", 1)]
    assert control(await driver.do(ResumeQueue(queue=driver.queue))).state is QueueState.ACTIVE


async def test_a_repeated_command_pauses_once(driver: Driver) -> None:
    command_id = new_id()
    first = await driver.do(PauseQueue(queue=driver.queue), command_id=command_id)
    again = await driver.do(PauseQueue(queue=driver.queue), command_id=command_id)
    assert (again.facts, again.position) == (first.facts, first.position)
    assert len(events(driver, first)) == 1
    assert (await driver.do(PauseQueue(queue=driver.queue))).code == "already_paused"


async def test_a_view_tells_what_waits_what_runs_and_how_it_is_controlled(driver: Driver) -> None:
    await driver.running()
    oldest = await driver.create()
    await driver.create()
    await driver.do(LimitQueue(queue=driver.queue, limits=SLOW), reason="slowly")
    shown = await view(driver)
    assert (shown.pending, shown.due, shown.due_more, shown.running) == (2, 2, False, 1)
    assert shown.oldest_at == oldest.run_at
    assert shown.limits is not None
    assert (shown.limits.concurrency, shown.limits.rate, shown.limits.reason) == (2, SLOW.rate, "slowly")
    listed = await queries.ask(driver.gateway, "jobs", "queues", Nothing(), QueueList)
    assert shown in listed.queues


async def test_a_drained_queue_says_when_nothing_runs_any_more(driver: Driver) -> None:
    await driver.create()
    [leased] = await driver.lease()
    assert control(await driver.do(PauseQueue(queue=driver.queue, drain=True))).state is QueueState.DRAINING
    assert (await view(driver)).state is QueueState.DRAINING
    await driver.report(done(leased))
    assert (await view(driver)).state is QueueState.DRAINED


async def test_a_queue_may_be_paused_before_its_first_job(driver: Driver) -> None:
    unknown = f"{driver.queue}-unknown"
    with pytest.raises(Refused) as refused:
        await view(driver, unknown)
    assert refused.value.code == "queue_not_found"
    assert control(await driver.do(PauseQueue(queue=unknown))).known is False
    paused = await view(driver, unknown)
    assert (paused.state, paused.known) == (QueueState.PAUSED, False)
    assert await listed(driver, unknown)
    await driver.do(ResumeQueue(queue=unknown))
    assert not await listed(driver, unknown)
    assert (await view(driver, unknown)).version == 2
    await driver.create()
    assert control(await driver.do(PauseQueue(queue=driver.queue))).known is True
    assert (await view(driver)).known is True


async def test_a_kind_is_controlled_in_all_queues(driver: Driver) -> None:
    name = f"{driver.queue}.kind"
    assert (await kind(driver, name)).state is QueueState.ACTIVE
    outcome = await driver.do(PauseQueue(kind=name), reason="it kills workers")
    assert (control(outcome).queue, control(outcome).kind, control(outcome).known) == (None, name, False)
    assert (await kind(driver, name)).state is QueueState.PAUSED
    listed = await queries.ask(driver.gateway, "jobs", "queues", Nothing(), QueueList)
    assert [item.known for item in listed.kinds if item.kind == name] == [False]
    await driver.create(kind=name)
    assert (await kind(driver, name)).known is True
    await driver.do(ResumeQueue(kind=name))
    listed = await queries.ask(driver.gateway, "jobs", "queues", Nothing(), QueueList)
    assert name not in [item.kind for item in listed.kinds]


async def test_where_it_is_paused_workers_get_only_forced_jobs(driver: Driver) -> None:
    _, forced = await driver.create_many(2)
    await driver.do(PauseQueue(queue=driver.queue))
    assert await driver.lease(wait_ms=0) == []
    await driver.do(ForceRunJob(job_id=JobId(forced.id)))
    assert [job.job for job in await driver.lease()] == [forced.id]
    assert await driver.lease(wait_ms=0) == []


async def test_what_is_made_while_it_is_paused_waits_until_it_is_resumed(driver: Driver) -> None:
    await driver.do(PauseQueue(queue=driver.queue))
    waiting = asyncio.create_task(driver.lease(wait_ms=20_000))
    job = await driver.create()
    assert (await driver.job(job.id)).status is JobStatus.PENDING
    await driver.do(ResumeQueue(queue=driver.queue))
    assert [leased.job for leased in await waiting] == [job.id]


async def test_who_waits_gets_the_job_of_a_resumed_kind(driver: Driver) -> None:
    name = f"{driver.queue}.kind"
    await driver.do(PauseQueue(kind=name))
    job = await driver.create(kind=name)
    waiting = asyncio.create_task(driver.lease(kinds=[name, KIND], wait_ms=20_000))
    other = await driver.create()
    assert [leased.job for leased in await waiting] == [other.id]
    waiting = asyncio.create_task(driver.lease(kinds=[name], wait_ms=20_000))
    await driver.do(ResumeQueue(kind=name))
    assert [leased.job for leased in await waiting] == [job.id]


async def test_the_next_starts_when_one_ends_or_the_limit_is_raised(driver: Driver) -> None:
    first, second, third = await driver.create_many(3)
    await driver.do(LimitQueue(queue=driver.queue, limits=Limits(concurrency=1)))
    [leased] = await driver.lease()
    assert leased.job == first.id
    waiting = asyncio.create_task(driver.lease(wait_ms=20_000))
    await driver.report(done(leased))
    assert [job.job for job in await waiting] == [second.id]
    waiting = asyncio.create_task(driver.lease(wait_ms=20_000))
    await driver.do(LimitQueue(queue=driver.queue, limits=Limits(concurrency=2)))
    assert [job.job for job in await waiting] == [third.id]


async def test_who_waits_gets_the_job_that_a_rate_lets_start(driver: Driver) -> None:
    first, second = await driver.create_many(2)
    await driver.do(LimitQueue(queue=driver.queue, limits=Limits(rate=Rate(starts=10))))
    assert [job.job for job in await driver.lease()] == [first.id]
    assert [job.job for job in await driver.lease(wait_ms=20_000)] == [second.id]


async def test_limits_hold_across_replicas(
    driver: Driver, bus: Bus, database: Database, gateway: Connection, worker: Connection
) -> None:
    await driver.create_many(30)
    await driver.do(LimitQueue(queue=driver.queue, limits=Limits(concurrency=7)))
    async with running(settings_for(bus, database, instance="jobs-2"), gateway):
        workers = [Driver(gateway, worker, driver.queue, driver.owner_url, name=f"worker-{n}") for n in range(8)]
        leased = await asyncio.gather(*(one.lease(max=2, wait_ms=0) for one in workers for _ in range(3)))
        assert sum(map(len, leased)) == 7
        assert (await view(driver)).running == 7
        await driver.do(PauseQueue(queue=driver.queue))
        assert not any(await asyncio.gather(*(one.lease(wait_ms=0) for one in workers)))


async def test_no_job_starts_behind_a_pause(driver: Driver, gateway: Connection, worker: Connection) -> None:
    """Whatever is under way: every start has a lower position in the journal than the pause."""
    await driver.create_many(40)
    workers = [Driver(gateway, worker, driver.queue, driver.owner_url, name=f"worker-{n}") for n in range(4)]
    asking = [asyncio.create_task(one.lease(max=1, wait_ms=0)) for one in workers for _ in range(5)]
    outcome = await driver.do(PauseQueue(queue=driver.queue))
    await asyncio.wait(asking)
    assert await driver.lease(wait_ms=0) == []
    query = "SELECT count(*) FROM event WHERE type = 'job.started.v1' AND data ->> 'queue' = %s AND pos > %s"
    assert rows_of(driver.owner_url, query, (driver.queue, outcome.position)) == [(0,)]
