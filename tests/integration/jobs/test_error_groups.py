"""Error groups: counted with the failures themselves, moved with the jobs, listed in any order."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.contracts.commands import EditJob, RetryJob
from jobplane.contracts.error_groups import (
    MOST_NAMES,
    SAMPLE_CHARS,
    ErrorGroup,
    ErrorGroupView,
    ErrorSort,
    ListErrorGroups,
    OneErrorGroup,
)
from jobplane.contracts.errors import Refused
from jobplane.contracts.job_events import ErrorFact
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs import bodies
from jobplane.jobs.decider import ExpireLease, FailJob
from jobplane.jobs.error_views import ErrorViews
from jobplane.jobs.job import Job
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.pruner import Pruner
from tests.integration.jobs.driving import KIND
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.integration.jobs.wishing import by_worker, command, create, settle, start
from tests.support import servers
from tests.support.servers import Database

FULL, BROKEN = "f" * 16, "b" * 16
_AGE = "UPDATE error_group SET last_at = now() - %s * interval '1 day' WHERE fingerprint = %s"

_AGE_OF_TREND = "UPDATE error_trend SET hour = hour - %s * interval '1 day' WHERE fingerprint = %s"


@pytest.fixture
def database(migrated_template: Database) -> Iterator[Database]:
    """A database per test; whatever happened, groups are what counting says."""
    copy = servers.copy_of(migrated_template)
    yield copy
    servers.drop(copy)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[AsyncConnectionPool]:
    async with database.pool("jobs") as opened:
        yield opened
    assert_consistent(database.owner_url)


@pytest.fixture
def views(pool: AsyncConnectionPool) -> ErrorViews:
    return ErrorViews(pool)


async def fail(ledger: Ledger, *jobs: Job, fingerprint: str = FULL, message: str = "the disk is full") -> list[Job]:
    """Runs of these jobs fail, all in one transaction."""
    wishes = []
    for job in jobs:
        running = await start(ledger, job.id)
        wish = by_worker(FailJob(job.id, running.token or "", ErrorFact(type="OSError", fingerprint=fingerprint)))
        wish.body = bodies.seal(wish.event_id, {"message": message, "stack": "in write"})
        error = ErrorFact(type="OSError", fingerprint=fingerprint, body=wish.body.fact)
        wish.command = FailJob(job.id, running.token or "", error)
        wishes.append(wish)
    settled = await settle(ledger, *wishes)
    return [one.held.job for one in settled if one.held is not None]


async def fails(ledger: Ledger, fingerprint: str = FULL, *, times: int = 1, **more: Any) -> list[Job]:
    """New jobs fail for good."""
    jobs = [await create(ledger, max_attempts=1, **more) for _ in range(times)]
    return await fail(ledger, *jobs, fingerprint=fingerprint)


async def retry(ledger: Ledger, *jobs: Job) -> None:
    await settle(ledger, *(command(RetryJob(job_id=job.id)) for job in jobs))


async def group(views: ErrorViews, fingerprint: str = FULL) -> ErrorGroupView:
    return await views.one(OneErrorGroup(fingerprint=fingerprint))


async def counts(views: ErrorViews, fingerprint: str = FULL) -> tuple[int, int]:
    """Failures, and jobs that are FAILED now."""
    found = await group(views, fingerprint)
    return found.count, found.failed_now


async def walk(views: ErrorViews, **asked: Any) -> list[ErrorGroup]:
    """Every page of a list, one after the other."""
    found: list[ErrorGroup] = []
    cursor: str | None = None
    while True:
        page = await views.page(ListErrorGroups(cursor=cursor, **asked))
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert page.items


async def test_failures_with_one_cause_are_one_group(ledger: Ledger, views: ErrorViews) -> None:
    *_, last = await fails(ledger, times=3)
    found = await group(views)
    assert (found.type, found.message, found.stack) == ("OSError", "the disk is full", "in write")
    assert (found.count, found.failed_now, found.trend) == (3, 3, [0] * 23 + [3])
    assert (found.kinds, found.queues, found.sample_job) == ([KIND], ["default"], last.id)
    assert found.first_at == found.last_at == last.finished_at
    assert [job.id for job in found.jobs] == sorted((job.id for job in found.jobs), reverse=True)
    assert {job.status for job in found.jobs} == {JobStatus.FAILED}
    [listed] = (await views.page(ListErrorGroups())).items
    assert listed.model_dump() == found.model_dump(exclude={"stack", "jobs"})


async def test_a_failure_that_is_tried_again_counts_without_a_failed_job(ledger: Ledger, views: ErrorViews) -> None:
    [job] = await fail(ledger, await create(ledger, max_attempts=2))
    assert job.status is JobStatus.PENDING
    assert await counts(views) == (1, 0)
    assert [job.status for job in (await group(views)).jobs] == [JobStatus.PENDING]


async def test_a_retry_takes_its_job_out_of_the_group_and_keeps_the_count(ledger: Ledger, views: ErrorViews) -> None:
    first, second = await fails(ledger, times=2)
    await retry(ledger, first)
    assert await counts(views) == (2, 1)
    await fail(ledger, first, fingerprint=BROKEN)
    assert (await counts(views), await counts(views, BROKEN)) == ((2, 1), (1, 1))
    await retry(ledger, first, second)
    assert (await counts(views), await counts(views, BROKEN)) == ((2, 0), (1, 0))


async def test_one_transaction_may_fill_and_empty_groups(ledger: Ledger, views: ErrorViews) -> None:
    old, other = *(await fails(ledger)), *(await fails(ledger, BROKEN))
    running = await start(ledger, (await create(ledger, max_attempts=1)).id)
    failing = FailJob(running.id, running.token or "", ErrorFact(type="OSError", fingerprint=FULL))
    retried = (command(RetryJob(job_id=job.id)) for job in (running, old, other))
    await settle(ledger, by_worker(failing), *retried)
    assert (await counts(views), await counts(views, BROKEN)) == ((2, 0), (1, 0))


async def test_an_edit_leaves_a_job_in_its_group(ledger: Ledger, views: ErrorViews) -> None:
    [job] = await fails(ledger)
    await settle(ledger, command(EditJob(job_id=job.id, queue="elsewhere"), reason="so"))
    found = await group(views)
    assert (found.failed_now, found.queues) == (1, ["default"])


async def test_jobs_that_workers_left_three_times_are_a_group(ledger: Ledger, views: ErrorViews) -> None:
    job = await create(ledger)
    for _ in range(3):
        running = await start(ledger, job.id)
        expire = by_worker(ExpireLease(running.id, running.created_at - timedelta(days=1)))
        [settled] = await settle(ledger, expire)
        assert settled.held is not None
        job = settled.held.job
        await settle(ledger, command(EditJob(job_id=job.id, run_at=clock.now() - timedelta(hours=1)), reason="now"))
    [found] = (await views.page(ListErrorGroups())).items
    assert (found.type, found.count, found.failed_now, found.message) == ("orphaned", 1, 1, "")


async def test_a_group_names_no_more_kinds_than_people_read(ledger: Ledger, views: ErrorViews) -> None:
    kinds = [f"test.kind{n:02}" for n in range(MOST_NAMES + 3)]
    for some in (kinds[:9], kinds[9:]):
        await fail(ledger, *[await create(ledger, max_attempts=1, kind=kind, queue=kind[5:]) for kind in some])
    found = await group(views)
    assert (found.kinds, found.queues) == (kinds[:MOST_NAMES], [kind[5:] for kind in kinds[:MOST_NAMES]])
    assert found.count == len(kinds)


async def test_lists_cut_long_messages(ledger: Ledger, views: ErrorViews) -> None:
    await fail(ledger, await create(ledger), message="x" * 4000)
    [listed] = (await views.page(ListErrorGroups())).items
    assert listed.message == "x" * SAMPLE_CHARS
    assert (await group(views)).message == "x" * 4000


async def test_an_erased_body_leaves_the_group(ledger: Ledger, views: ErrorViews, pool: AsyncConnectionPool) -> None:
    await fail(ledger, await create(ledger))
    async with pool.connection() as conn:
        await conn.execute("CREATE TEMP TABLE kept AS SELECT * FROM body")
        await conn.execute("DELETE FROM body")
    found = await group(views)
    assert (found.message, found.stack, found.count) == ("", None, 1)
    async with pool.connection() as conn:
        await conn.execute("INSERT INTO body SELECT * FROM kept")


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (ErrorSort.LAST_SEEN, ["4", "3", "2", "1", "0"]),
        (ErrorSort.COUNT, ["1", "4", "3", "2", "0"]),
        (ErrorSort.FAILED_NOW, ["4", "1", "3", "2", "0"]),
    ],
)
async def test_a_list_is_walked_in_each_order_without_gap_or_repeat(
    ledger: Ledger, views: ErrorViews, sort: ErrorSort, order: list[str]
) -> None:
    failing = {name: await fails(ledger, name * 16, times=n) for name, n in zip("01234", (1, 4, 2, 2, 3), strict=True)}
    await retry(ledger, failing["1"][0], failing["0"][0])
    for limit in (1, 2, 50):
        walked = await walk(views, sort=sort, limit=limit)
        assert [found.fingerprint[0] for found in walked] == order


async def test_filters_compose(ledger: Ledger, views: ErrorViews) -> None:
    await fails(ledger, "1" * 16, kind="a.b", queue="one")
    [job] = await fails(ledger, "2" * 16, kind="a.c", queue="one")
    await fails(ledger, "3" * 16, kind="a.c", queue="two")

    async def found(**asked: Any) -> list[str]:
        return sorted(one.fingerprint[0] for one in await walk(views, **asked))

    assert await found(kind=["a.c"]) == ["2", "3"]
    assert await found(kind=["a.c", "a.b"], queue=["one"]) == ["1", "2"]
    assert await found(kind=["a.b"], queue=["two"]) == []
    assert await found(type=["OSError", "ValueError"], since=job.finished_at) == ["2", "3"]
    assert await found(type=["ValueError"]) == await found(type=["\0"]) == []


async def test_a_cursor_of_another_order_is_refused(ledger: Ledger, views: ErrorViews) -> None:
    await fails(ledger, FULL)
    await fails(ledger, BROKEN)
    cursor = (await views.page(ListErrorGroups(limit=1))).next_cursor
    for asked in (ListErrorGroups(cursor=cursor, sort=ErrorSort.COUNT), ListErrorGroups(cursor="bm9uc2Vuc2U")):
        with pytest.raises(Refused) as refused:
            await views.page(asked)
        assert refused.value.code == "invalid_cursor"


async def test_a_group_that_nobody_knows_is_not_found(views: ErrorViews) -> None:
    with pytest.raises(Refused) as refused:
        await group(views)
    assert refused.value.code == "error_group_not_found"


async def test_a_trend_has_the_last_day_by_hours(ledger: Ledger, views: ErrorViews, pool: AsyncConnectionPool) -> None:
    await fails(ledger)
    earlier = "INSERT INTO error_trend SELECT %s, hour - %s * interval '1 hour', %s FROM error_trend WHERE n = 1"
    async with pool.connection() as conn:
        for hours, n in ((2, 20), (23, 23), (24, 24)):
            await conn.execute(earlier, (FULL, hours, n))
    trend = (await group(views)).trend
    async with pool.connection() as conn:
        await conn.execute("DELETE FROM error_trend WHERE n <> 1")
    # One hour further where the hour ended meanwhile.
    assert trend in ([23, *[0] * 20, 20, 0, 1], [*[0] * 20, 20, 0, 1, 0])


async def test_writers_at_once_miss_no_failure(ledger: Ledger, views: ErrorViews) -> None:
    async def live(number: int) -> None:
        for fingerprint in (FULL, BROKEN, FULL):
            [job] = await fails(ledger, fingerprint, queue=f"q{number}")
            await retry(ledger, job)
            await fail(ledger, job, fingerprint=BROKEN)

    await asyncio.gather(*(live(number) for number in range(4)))
    assert (await counts(views), await counts(views, BROKEN)) == ((8, 0), (16, 12))


async def test_the_pruner_forgets_what_failed_long_ago(
    ledger: Ledger, pool: AsyncConnectionPool, database: Database
) -> None:
    young, old, gone = "1" * 16, "2" * 16, "3" * 16
    jobs = {name: (await fails(ledger, name))[0] for name in (young, old, gone)}
    await retry(ledger, jobs[young], jobs[gone])
    ages = rows_of(database.owner_url, "SELECT fingerprint, last_at FROM error_group")
    for name, days in ((young, 89), (old, 91), (gone, 91)):
        change(database.owner_url, _AGE, (days, name))
        change(database.owner_url, _AGE_OF_TREND, (days, name))
    kept = rows_of(database.owner_url, "SELECT * FROM error_group WHERE fingerprint = %s", (gone,))
    assert await Pruner(pool).run_once() == 3
    assert rows_of(database.owner_url, "SELECT fingerprint FROM error_trend") == [(young,)]
    groups = rows_of(database.owner_url, "SELECT fingerprint, failed_now FROM error_group ORDER BY 1")
    assert groups == [(young, 0), (old, 1)]
    _put_back(database, ages, kept[0])


def _put_back(database: Database, ages: list[tuple[Any, ...]], gone: tuple[Any, ...]) -> None:
    """What was aged and forgotten, so that everything is consistent again."""
    marks = ", ".join(["%s"] * len(gone))
    change(database.owner_url, f"INSERT INTO error_group VALUES ({marks})", gone)
    change(database.owner_url, "DELETE FROM error_trend")
    for fingerprint, at in ages:
        change(database.owner_url, "UPDATE error_group SET last_at = %s WHERE fingerprint = %s", (at, fingerprint))
        hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        change(database.owner_url, "INSERT INTO error_trend VALUES (%s, %s, 1)", (fingerprint, hour))


async def test_a_migration_finds_the_groups_of_older_jobs(
    ledger: Ledger, views: ErrorViews, database: Database
) -> None:
    await fails(ledger, FULL, times=2)
    await fail(ledger, await create(ledger), fingerprint=BROKEN)
    before = await walk(views)
    migration = importlib.import_module("jobplane.jobs.migrations.versions.0013_error_groups")
    change(database.owner_url, "DELETE FROM error_group")
    change(database.owner_url, migration.KNOWN)
    plain = {"sample_job", "first_at", "last_at"}
    assert sorted(one.model_dump_json(exclude=plain) for one in await walk(views)) == sorted(
        one.model_dump_json(exclude=plain) for one in before
    )
    for one in before:
        values = (one.first_at, one.last_at, one.fingerprint)
        change(database.owner_url, "UPDATE error_group SET first_at = %s, last_at = %s WHERE fingerprint = %s", values)
