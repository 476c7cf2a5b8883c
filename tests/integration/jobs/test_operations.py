"""Bulk operations from the request to the end: planned, run, paused, stopped, undone; each job once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from psycopg import OperationalError
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import queries
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role
from jobplane.contracts.commands import CancelJob, RestoreJob
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_filter import JobFilter, PayloadIs, PayloadValue, Words
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.operations import (
    BulkAction,
    BulkEdit,
    Drift,
    OperationStatus,
    OperationView,
    PauseOperation,
    PlanOperation,
    ResumeOperation,
    RunOperation,
    StopOperation,
    UndoOperation,
)
from jobplane.contracts.queries import ListOperations, OneOperation
from jobplane.jobs import chunks, operation_views, planner
from jobplane.jobs.decider import StopReported
from jobplane.jobs.ledger import Ledger
from tests.integration.jobs import wishing
from tests.integration.jobs.bulking import Bulk
from tests.integration.jobs.driving import ADMIN, Driver
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.support.servers import Database
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

MANY = 1100
_REST_IS_OVER = "UPDATE operation SET plan_at = NULL"
_SLEEPS = "SELECT clock_timestamp() AS now FROM pg_sleep(5)"


@pytest_asyncio.fixture(loop_scope="module")
async def bulk(pool: AsyncConnectionPool) -> AsyncIterator[Bulk]:
    yield Bulk(pool)


@pytest.fixture(autouse=True)
def consistent(database: Database) -> Iterator[None]:
    yield
    assert_consistent(database.owner_url)


async def create(ledger: Ledger, count: int, **more: Any) -> list[str]:
    """Jobs that wait."""
    wishes = [wishing.command(wishing.creation(**more)) for _ in range(count)]
    await ledger.settle(wishes)
    return [wish.command.job_id for wish in wishes]


def statuses(database: Database, ids: list[str]) -> dict[str, int]:
    query = "SELECT status, count(*) FROM job WHERE id = ANY(%s::uuid[]) GROUP BY status"
    return dict(rows_of(database.owner_url, query, (ids,)))


async def test_a_plan_tells_what_would_become_of_which_jobs_and_does_nothing(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    waiting = await create(ledger, 3, queue="slow")
    failed = (await wishing.failed(ledger)).id
    operation = await bulk.request(BulkAction.CANCEL, [*waiting, failed, new_id()], then_run=False)
    shown = await bulk.finish(operation)
    assert (shown.status, shown.total, shown.done) == (OperationStatus.PLANNED, 5, 0)
    assert shown.skipping == {"job_finished": 1, "job_not_found": 1}
    assert shown.breakdown is not None
    assert shown.breakdown.status == {"PENDING": 3, "FAILED": 1}
    assert shown.breakdown.queue == {"slow": 3, "default": 1}
    assert shown.breakdown.error == {"f" * 16: 1}
    query = "SELECT fingerprint, type FROM error_group WHERE fingerprint = %s"
    assert shown.breakdown.error_types == dict(rows_of(database.owner_url, query, ("f" * 16,)))
    assert shown.breakdown.error_types
    assert set(waiting) < set(shown.sample)
    assert shown.expires_at is not None
    assert {item.outcome for item in await bulk.items(operation)} == {"waiting"}
    assert statuses(database, waiting) == {"PENDING": 3}
    await bulk.ask(RunOperation(operation_id=operation))
    assert (await bulk.finish(operation)).done == 3
    assert statuses(database, waiting) == {"CANCELLED": 3}


async def test_more_jobs_than_fit_into_a_chunk_are_done_chunk_by_chunk(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    ids = await create(ledger, MANY)
    shown = await bulk.do(BulkAction.CANCEL, ids)
    assert (shown.status, shown.done, shown.codes) == (OperationStatus.DONE, MANY, {})
    assert [carried.looked_at for carried in bulk.carried[-3:]] == [500, 500, 100]
    assert not bulk.runner.busy
    items = await bulk.items(shown.id, limit=500)
    assert [item.n for item in items] == list(range(1, MANY + 1))
    assert sorted(item.job_id for item in items) == sorted(ids)
    assert {(item.outcome, item.version) for item in items} == {("done", 2)}
    by_shard = "SELECT data::text, pos FROM event WHERE type = 'operation.jobs_changed.v1' AND stream_id = %s"
    events = rows_of(database.owner_url, by_shard, (shown.id,))
    assert 16 <= len(events) <= 16 + 2, "one for each shard, one more where a chunk ends within a shard"


async def test_it_is_paused_between_chunks_and_goes_on_where_it_was(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    ids = await create(ledger, MANY)
    operation = await bulk.request(BulkAction.CANCEL, ids)
    await bulk.planner.run_once()
    await chunks.carry_out_next(bulk.journal, operation, BulkAction.CANCEL)
    assert (await bulk.ask(PauseOperation(operation_id=operation))).status == "done"
    assert (await bulk.finish(operation)).done == 500
    assert statuses(database, ids) == {"CANCELLED": 500, "PENDING": MANY - 500}
    outcomes = [item.outcome for item in await bulk.items(operation)]
    assert outcomes == ["done"] * 500 + ["waiting"] * (MANY - 500)
    assert (await bulk.ask(PauseOperation(operation_id=operation))).code == "operation_not_running"
    await bulk.ask(ResumeOperation(operation_id=operation))
    assert (await bulk.finish(operation)).done == MANY


async def test_what_is_stopped_stays_as_it_is_and_can_be_undone(bulk: Bulk, ledger: Ledger, database: Database) -> None:
    ids = await create(ledger, MANY)
    operation = await bulk.request(BulkAction.CANCEL, ids)
    await bulk.planner.run_once()
    await chunks.carry_out_next(bulk.journal, operation, BulkAction.CANCEL)
    await bulk.ask(StopOperation(operation_id=operation))
    shown = await bulk.finish(operation)
    assert (shown.status, shown.done) == (OperationStatus.STOPPED, 500)
    assert shown.undo is not None
    assert (shown.undo.action, shown.undo.possible, shown.undo.impossible) == (BulkAction.RESTORE, 500, 0)
    assert (await bulk.ask(ResumeOperation(operation_id=operation))).code == "operation_not_paused"
    undo = UndoOperation(operation_id=new_id(), undo_of=operation, then_run=True)
    await bulk.ask(undo, reason="by mistake")
    assert (await bulk.finish(undo.operation_id)).done == 500
    assert statuses(database, ids) == {"PENDING": MANY}


async def test_an_operation_that_is_stopped_before_it_is_planned_touches_nothing(bulk: Bulk, ledger: Ledger) -> None:
    operation = await bulk.request(BulkAction.CANCEL, await create(ledger, 3))
    await bulk.ask(StopOperation(operation_id=operation))
    shown = await bulk.finish(operation)
    assert (shown.status, shown.done, shown.total) == (OperationStatus.STOPPED, 0, None)


async def test_an_undo_gives_each_job_back_what_it_had_and_leaves_those_that_changed_since(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    low, high, changed = (
        await create(ledger, 2, priority=1),
        await create(ledger, 2, priority=9, queue="fast"),
        await create(ledger, 1),
    )
    done = await bulk.do(BulkAction.EDIT, [*low, *high, *changed], BulkEdit(priority=5, queue="slow"))
    assert done.done == 5
    await ledger.settle([wishing.command(CancelJob(job_id=JobId(changed[0])))])
    plan = UndoOperation(operation_id=new_id(), undo_of=done.id)
    await bulk.ask(plan)
    planned = await bulk.finish(plan.operation_id)
    assert (planned.status, planned.total, planned.skipping) == (OperationStatus.PLANNED, 5, {"changed_since": 1})
    undo = UndoOperation(operation_id=new_id(), undo_of=done.id, then_run=True)
    await bulk.ask(undo)
    shown = await bulk.finish(undo.operation_id)
    assert (shown.done, shown.codes, shown.undo_of) == (4, {"changed_since": 1}, done.id)
    for refused in (
        await bulk.ask(undo.model_copy(update={"operation_id": new_id()})),
        await bulk.ask(RunOperation(operation_id=plan.operation_id)),
    ):
        assert (refused.code, refused.facts["undone_by"]) == ("already_undone", undo.operation_id)
    query = "SELECT data ->> 'target_id' FROM event WHERE type = 'command.refused.v1' ORDER BY pos DESC LIMIT 2"
    assert {row[0] for row in rows_of(database.owner_url, query)} == {done.id, plan.operation_id}
    left = (await bulk.view(done.id)).undo
    assert left is not None
    assert (left.possible, left.codes, left.by) == (0, {"changed_since": 5}, undo.operation_id)
    query = "SELECT id, priority, queue FROM job WHERE id = ANY(%s::uuid[])"
    found = {row[0]: row[1:] for row in rows_of(database.owner_url, query, ([*low, *high, *changed],))}
    assert [found[job] for job in (*low, *high)] == [(1, "default")] * 2 + [(9, "fast")] * 2
    assert found[changed[0]] == (5, "slow")


async def test_of_many_jobs_it_is_estimated_how_many_can_be_put_back(
    bulk: Bulk, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await bulk.request(BulkAction.CANCEL, await create(ledger, 12), rate=3)
    await bulk.planner.run_once()
    for _ in range(4):
        await chunks.carry_out_next(bulk.journal, operation, BulkAction.CANCEL)
    await bulk.ask(StopOperation(operation_id=operation))
    [first, *_] = await bulk.items(operation)
    await ledger.settle([wishing.command(RestoreJob(job_id=first.job_id))])
    exact = (await bulk.view(operation)).undo
    assert exact is not None
    assert (exact.possible, exact.codes, exact.estimated) == (11, {"changed_since": 1}, False)
    monkeypatch.setattr(operation_views, "_LOOKED_AT", 6)
    guess = (await bulk.view(operation)).undo
    assert guess is not None
    assert (guess.possible, guess.codes, guess.estimated) == (10, {"changed_since": 2}, True)


async def test_the_undo_of_a_retry_cancels_only_what_has_not_started(bulk: Bulk, ledger: Ledger) -> None:
    jobs = [(await wishing.failed(ledger)).id for _ in range(2)]
    done = await bulk.do(BulkAction.RETRY, list(jobs))
    await wishing.start(ledger, jobs[0])
    undo = UndoOperation(operation_id=new_id(), undo_of=done.id, then_run=True)
    await bulk.ask(undo)
    await bulk.finish(undo.operation_id)
    assert await bulk.codes(undo.operation_id) == {jobs[0]: "changed_since", jobs[1]: None}


async def test_a_cancel_of_what_ran_is_taken_back_once_its_workers_have_said_that_they_stopped(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    jobs = [(await wishing.create(ledger)).id for _ in range(2)]
    tokens = [(await wishing.start(ledger, job)).token or "" for job in jobs]
    done = await bulk.do(BulkAction.CANCEL, list(jobs))
    await wishing.settle(ledger, wishing.by_worker(StopReported(jobs[0], tokens[0], "cancelled")))
    shown = await bulk.view(done.id)
    assert shown.undo is not None
    assert (shown.undo.possible, shown.undo.codes) == (1, {"stop_pending": 1})
    undo = UndoOperation(operation_id=new_id(), undo_of=done.id, then_run=True)
    await bulk.ask(undo)
    await bulk.finish(undo.operation_id)
    assert await bulk.codes(undo.operation_id) == {jobs[0]: None, jobs[1]: "stop_pending"}
    assert statuses(database, [jobs[0]]) == {"PENDING": 1}
    await wishing.settle(ledger, wishing.by_worker(StopReported(jobs[1], tokens[1], "cancelled")))
    again = undo.model_copy(update={"operation_id": new_id()})
    await bulk.ask(again)
    assert (await bulk.finish(again.operation_id)).done == 1, "what was too early is undone later"
    assert (await bulk.ask(undo.model_copy(update={"operation_id": new_id()}))).facts["undone_by"] == again.operation_id


async def test_who_runs_the_plan_of_somebody_else_is_who_changes_the_jobs(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    ids = await create(ledger, 2)
    operation = await bulk.request(BulkAction.CANCEL, ids, then_run=False)
    await bulk.planner.run_once()
    chief = ADMIN.model_copy(update={"id": new_id(), "role": Role.SUPERADMIN})
    await bulk.ask(RunOperation(operation_id=operation), actor=chief)
    assert (await bulk.finish(operation)).actor == ADMIN
    query = "SELECT type, actor ->> 'id' FROM event WHERE stream_id = %s"
    actors: dict[str, str] = dict(rows_of(database.owner_url, query, (operation,)))
    assert actors.pop("operation.requested.v1") == actors.pop("operation.planned.v1") == ADMIN.id
    assert set(actors.values()) == {chief.id}


async def test_a_plan_that_cannot_be_made_does_not_stop_those_behind_it(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    broken, sound = [await bulk.request(BulkAction.CANCEL, await create(ledger, 1)) for _ in range(2)]
    statement = "UPDATE operation SET action = %s WHERE id = %s"
    change(database.owner_url, statement, ("no such action", broken))
    assert await bulk.planner.run_once() == 1
    assert (await bulk.view(sound)).status is OperationStatus.RUNNING
    change(database.owner_url, statement, ("cancel", broken))
    assert await bulk.planner.run_once() == 0, "it rests before it is tried again"
    change(database.owner_url, _REST_IS_OVER)
    assert (await bulk.finish(broken)).done == 1


async def test_a_plan_that_can_never_be_made_fails_and_says_so(
    bulk: Bulk, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    operation = await bulk.request(BulkAction.CANCEL, await create(ledger, 1))

    async def die(*_: Any) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(bulk.planner, "_selection", die)
        for _ in range(planner.TRIES):
            assert (await bulk.view(operation)).status is OperationStatus.PLANNING
            await bulk.planner.run_once()
            change(database.owner_url, _REST_IS_OVER)
    shown = await bulk.finish(operation)
    assert (shown.status, shown.code, shown.done) == (OperationStatus.FAILED, "plan_failed", 0)


async def test_a_plan_that_takes_too_long_is_not_tried_again(
    bulk: Bulk, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await bulk.request(BulkAction.CANCEL, await create(ledger, 1))
    with monkeypatch.context() as slow:
        slow.setattr(planner, "_TIMEOUT", "20ms")
        slow.setattr(planner, "_PLAN", planner._PLAN.replace("SELECT clock_timestamp() AS now", _SLEEPS))
        await bulk.planner.run_once()
    shown = await bulk.finish(operation)
    assert (shown.status, shown.code) == (OperationStatus.FAILED, "search_too_slow")


async def test_replicas_share_an_operation_and_do_each_job_once(
    bulk: Bulk, ledger: Ledger, pool: AsyncConnectionPool
) -> None:
    ids = await create(ledger, MANY)
    operation = await bulk.request(BulkAction.CANCEL, ids)
    replicas = [bulk, *(Bulk(pool) for _ in range(3))]
    await asyncio.gather(*(replica.planner.run_once() for replica in replicas))

    async def over() -> bool:
        await asyncio.gather(*(replica.runner.run_once() for replica in replicas))
        return (await bulk.view(operation)).status is OperationStatus.DONE

    await eventually(over)
    shown = await bulk.view(operation)
    assert (shown.done, shown.skipped) == (MANY, 0)


async def test_a_chunk_that_dies_before_its_commit_has_done_nothing_and_is_done_again(
    bulk: Bulk, ledger: Ledger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await create(ledger, MANY)
    operation = await bulk.request(BulkAction.CANCEL, ids)
    await bulk.planner.run_once()
    with monkeypatch.context() as broken:
        statement = chunks._statement(BulkAction.CANCEL)
        broken.setattr(chunks, "_statement", lambda _action: statement.replace("SELECT base,", "SELECT 1 / 0 + base,"))
        for _ in range(2):
            with pytest.raises(Exception, match="division by zero"):
                await bulk.runner.run_once()
    assert statuses(database, ids) == {"PENDING": MANY}
    assert (await bulk.finish(operation)).done == MANY


async def test_a_plan_that_dies_before_its_commit_is_made_anew(
    bulk: Bulk, ledger: Ledger, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = await bulk.request(BulkAction.CANCEL, await create(ledger, 3))
    with monkeypatch.context() as broken:

        async def die(*_: Any) -> None:
            raise OperationalError("gone")

        broken.setattr(bulk.operations, "proceed", die)
        assert await bulk.planner.run_once() == 0
    change(database.owner_url, _REST_IS_OVER)
    assert (await bulk.finish(operation)).done == 3


async def test_while_writes_are_halted_no_job_is_touched(bulk: Bulk, ledger: Ledger, database: Database) -> None:
    ids = await create(ledger, 3)
    operation = await bulk.request(BulkAction.CANCEL, ids)
    await bulk.planner.run_once()
    change(database.owner_url, "UPDATE journal_head SET halted = 'for a test'")
    try:
        with pytest.raises(Unavailable, match="halted"):
            await bulk.runner.run_once()
    finally:
        change(database.owner_url, "UPDATE journal_head SET halted = NULL")
    assert statuses(database, ids) == {"PENDING": 3}
    assert (await bulk.finish(operation)).done == 3


async def test_a_rate_says_how_large_chunks_are_and_when_the_next_one_comes(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    ids = await create(ledger, 25)
    operation = await bulk.request(BulkAction.CANCEL, ids, rate=10)
    assert (await bulk.finish(operation)).done == 10
    assert (await bulk.finish(operation)).done == 10, "the second has passed for nobody"
    for done in (20, 25):
        change(
            database.owner_url, "UPDATE operation SET next_at = next_at - interval '1 s' WHERE id = %s", (operation,)
        )
        assert (await bulk.finish(operation)).done == done


async def test_a_repeated_request_makes_one_operation(bulk: Bulk, ledger: Ledger) -> None:
    wanted = PlanOperation(
        operation_id=new_id(), action=BulkAction.CANCEL, ids=[JobId(i) for i in await create(ledger, 1)]
    )
    assert (await bulk.ask(wanted)).facts["operation_id"] == wanted.operation_id
    assert (await bulk.ask(wanted)).code == "operation_exists"


async def test_a_filter_selects_when_it_is_planned_and_the_run_says_what_has_changed_since(
    bulk: Bulk, ledger: Ledger, database: Database
) -> None:
    ids = await create(ledger, 3, queue="drifting")
    wanted = JobFilter(queue=("drifting",), status=(JobStatus.PENDING,)).model_dump(mode="json", exclude_defaults=True)
    operation = await bulk.request(BulkAction.CANCEL, [], filter=wanted, then_run=False)
    assert (await bulk.finish(operation)).total == 3
    late = await create(ledger, 2, queue="drifting")
    await ledger.settle([wishing.command(CancelJob(job_id=JobId(ids[0])))])
    refused = await bulk.ask(RunOperation(operation_id=operation, max_drift=2))
    assert (refused.code, refused.facts["added"], refused.facts["gone"]) == ("plan_drifted", 2, 1)
    await bulk.ask(RunOperation(operation_id=operation, max_drift=3))
    shown = await bulk.finish(operation)
    assert shown.drift == Drift(added=2, gone=1)
    assert (shown.done, shown.codes) == (2, {"job_finished": 1})
    assert statuses(database, late) == {"PENDING": 2}


async def test_a_search_by_text_finds_what_bulk_operations_changed(bulk: Bulk, ledger: Ledger) -> None:
    jobs = [(await wishing.failed(ledger, queue="told")).id for _ in range(2)]
    failed = JobFilter(error=(Words(text="ValueError"),), queue=("told",))
    told = failed.model_dump(mode="json", exclude_defaults=True)
    done = await bulk.finish(await bulk.request(BulkAction.RETRY, [], filter=told))
    assert (done.done, sorted(done.sample)) == (2, sorted(jobs))
    again = await bulk.finish(await bulk.request(BulkAction.CANCEL, [], filter=told))
    assert again.total == 0, "their errors are cleared"


async def test_a_filter_that_nobody_may_use_is_refused_and_not_recorded(bulk: Bulk, pool: AsyncConnectionPool) -> None:
    asked = PayloadIs(path=("password",), values=(PayloadValue(text="hunter2"),))
    secret = JobFilter(payload=(asked,)).model_dump(mode="json", exclude_defaults=True)
    wanted = PlanOperation(operation_id=new_id(), action=BulkAction.CANCEL, filter=secret, then_run=True)
    refused = await bulk.ask(wanted, reason="a test")
    assert (refused.status, refused.code) == ("refused", "field_redacted")
    async with pool.connection() as conn:
        found = await conn.execute("SELECT FROM event WHERE data::text LIKE '%hunter2%'")
        assert found.rowcount == 0


async def test_lists_are_newest_first_and_page_by_page(bulk: Bulk, ledger: Ledger) -> None:
    made = [await bulk.request(BulkAction.CANCEL, await create(ledger, 1), then_run=False) for _ in range(3)]
    await bulk.planner.run_once()
    page = await bulk.views.page(ListOperations(limit=2, status=[OperationStatus.PLANNED]))
    assert [item.id for item in page.items] == made[:0:-1]
    rest = await bulk.views.page(ListOperations(limit=1, cursor=page.next_cursor, status=[OperationStatus.PLANNED]))
    assert [item.id for item in rest.items] == made[:1]
    with pytest.raises(Refused, match="operation_not_found"):
        await bulk.view(new_id())
    with pytest.raises(Refused, match="operation_not_found"):
        await bulk.items(new_id())


async def test_the_service_carries_out_what_it_is_asked_and_wakes_who_waits(driver: Driver) -> None:
    failed = [await driver.ended("failed") for _ in range(2)]
    asked = PlanOperation(
        operation_id=new_id(), action=BulkAction.RETRY, ids=[JobId(job) for job in failed], then_run=True
    )
    outcome = await driver.do(asked, reason="the disk is back")
    assert (outcome.status, outcome.facts["operation_id"]) == ("done", asked.operation_id)
    leased = await driver.lease(max=2)
    assert {job.job for job in leased} <= set(failed)
    query = OneOperation(operation_id=asked.operation_id)

    async def done() -> bool:
        shown = await queries.ask(driver.gateway, "jobs", "operation", query, OperationView)
        return shown.status is OperationStatus.DONE

    await eventually(done)
    assert (await driver.events(failed[0]))[-2:] in (
        ["job.retried.v1", "job.started.v1"],
        ["job.failed.v1", "job.retried.v1"],
    )
