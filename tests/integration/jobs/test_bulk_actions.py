"""Done in bulk, an action does to each job exactly what its command does to one: in every situation and column."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import AnyJobCommand, CancelJob, EditJob, ForceRunJob, RestoreJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import ErrorFact
from jobplane.contracts.operations import BulkAction, BulkEdit
from jobplane.jobs.decider import CompleteJob, FailJob, SettleStop, StopReported
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.outcomes import of
from jobplane.jobs.past import events_of
from tests.integration.jobs import wishing
from tests.integration.jobs.bulking import Bulk
from tests.integration.jobs.truth import assert_consistent, rows_of
from tests.support.servers import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER: Final = datetime(2030, 1, 1, tzinfo=UTC)
SOON: Final = timedelta(hours=1)
Made = Callable[["Situations"], Awaitable[str]]


@pytest_asyncio.fixture(loop_scope="module")
async def bulk(pool: AsyncConnectionPool) -> AsyncIterator[Bulk]:
    yield Bulk(pool)


@pytest.fixture
def situations(ledger: Ledger, database: Database) -> Iterator["Situations"]:
    yield Situations(ledger)
    assert_consistent(database.owner_url)


class Situations:
    """Makes jobs in every situation that the decision depends on."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def pending(self, **more: Any) -> str:
        return (await wishing.create(self.ledger, **more)).id

    async def waiting(self) -> str:
        return await self.pending(run_at=LATER)

    async def forced(self) -> str:
        job = await self.waiting()
        await self.do(ForceRunJob(job_id=JobId(job)))
        return job

    async def backing_off(self) -> str:
        job = await wishing.create(self.ledger)
        running = await wishing.start(self.ledger, job.id)
        error = ErrorFact(type="ValueError", fingerprint="f" * 16)
        await wishing.settle(self.ledger, wishing.by_worker(FailJob(job.id, running.token or "", error)))
        return job.id

    async def running(self) -> str:
        job = await wishing.create(self.ledger)
        await wishing.start(self.ledger, job.id, lease_ms=600_000)
        return job.id

    async def completed(self) -> str:
        job = await wishing.create(self.ledger)
        running = await wishing.start(self.ledger, job.id)
        await wishing.settle(self.ledger, wishing.by_worker(CompleteJob(job.id, running.token or "")))
        return job.id

    async def failed(self, **more: Any) -> str:
        return (await wishing.failed(self.ledger, **more)).id

    async def failed_for_later(self) -> str:
        job = await self.failed()
        await self.do(EditJob(job_id=JobId(job), run_at=LATER))
        return job

    async def cancelled(self, **more: Any) -> str:
        job = await self.pending(**more)
        await self.do(CancelJob(job_id=JobId(job)))
        return job

    async def cancelled_while_running(self) -> str:
        job = await self.running()
        await self.do(CancelJob(job_id=JobId(job)))
        return job

    async def stopped(self) -> str:
        job = await wishing.create(self.ledger)
        running = await wishing.start(self.ledger, job.id)
        await self.do(CancelJob(job_id=job.id))
        await wishing.settle(self.ledger, wishing.by_worker(StopReported(job.id, running.token or "", "cancelled")))
        return job.id

    async def unconfirmed(self) -> str:
        job = await self.cancelled_while_running()
        await wishing.settle(self.ledger, wishing.by_worker(SettleStop(JobId(job))))
        return job

    async def keyed(self, ended: str, *, taken: bool) -> str:
        key = JobId(new_id())
        job = await (self.failed(unique_key=key) if ended == "failed" else self.cancelled(unique_key=key))
        if taken:
            await self.pending(unique_key=key)
        return job

    async def unknown(self) -> str:
        return new_id()

    async def do(self, command: AnyJobCommand) -> str | None:
        """Have one command decided; gives the code of its refusal."""
        [settled] = await self.ledger.settle([wishing.command(command)])
        return of(settled).code


SITUATIONS: Final[dict[str, Made]] = {
    "pending": Situations.pending,
    "waiting": Situations.waiting,
    "forced": Situations.forced,
    "backing off": Situations.backing_off,
    "running": Situations.running,
    "completed": Situations.completed,
    "failed": Situations.failed,
    "failed for later": Situations.failed_for_later,
    "cancelled": Situations.cancelled,
    "cancelled while running": Situations.cancelled_while_running,
    "stopped": Situations.stopped,
    "unconfirmed": Situations.unconfirmed,
    "failed, key free": lambda made: made.keyed("failed", taken=False),
    "failed, key taken": lambda made: made.keyed("failed", taken=True),
    "cancelled, key free": lambda made: made.keyed("cancelled", taken=False),
    "cancelled, key taken": lambda made: made.keyed("cancelled", taken=True),
    "unknown": Situations.unknown,
}
EDITS: Final = {
    "everything": BulkEdit(queue="elsewhere", priority=7, run_at=LATER + SOON, max_attempts=9),
    "the queue": BulkEdit(queue="elsewhere"),
    "at once": BulkEdit(run_at=datetime(2020, 1, 1, tzinfo=UTC)),
    "as it is": BulkEdit(queue="default", priority=0),
    "the same time": BulkEdit(run_at=LATER),
    "too few attempts": BulkEdit(max_attempts=1),
    "too far": BulkEdit(run_at=clock.now() + timedelta(days=4000)),
}


def _edit(edit: BulkEdit) -> Callable[[str], AnyJobCommand]:
    return lambda job: EditJob(job_id=JobId(job), **edit.model_dump(exclude_none=True))


Case = tuple[BulkAction, BulkEdit | None, Callable[[str], AnyJobCommand]]
_EDITED: Final[dict[str, Case]] = {f"edit {name}": (BulkAction.EDIT, edit, _edit(edit)) for name, edit in EDITS.items()}
CASES: Final[dict[str, Case]] = {
    "retry": (BulkAction.RETRY, None, lambda job: RetryJob(job_id=JobId(job))),
    "cancel": (BulkAction.CANCEL, None, lambda job: CancelJob(job_id=JobId(job))),
    "run": (BulkAction.RUN, None, lambda job: ForceRunJob(job_id=JobId(job))),
    "restore": (BulkAction.RESTORE, None, lambda job: RestoreJob(job_id=JobId(job))),
    **_EDITED,
}
_OF_ITS_OWN: Final = frozenset({"id", "trace_id", "traceparent", "correlation_id", "position", "bulk_positions"})


def row_of(database: Database, job_id: str) -> dict[str, Any]:
    """A job's row, but for what two jobs never share; instants only as far as they mean something."""
    found = rows_of(database.owner_url, "SELECT row_to_json(job) FROM job WHERE id = %s", (job_id,))
    if not found:
        return {}
    row: dict[str, Any] = {name: value for name, value in found[0][0].items() if name not in _OF_ITS_OWN}
    now = clock.now()
    for name in ("run_at", "created_at", "started_at", "finished_at", "lease_until", "unmentioned_at"):
        at = None if row[name] is None else datetime.fromisoformat(row[name])
        row[name] = None if at is None else "past" if at <= now else at if at > now + SOON else "soon"
    for name in ("token", "stop_token", "unique_key"):
        row[name] = row[name] is not None
    return row


@pytest.mark.parametrize("case", CASES)
async def test_it_does_to_each_job_what_one_command_does(
    bulk: Bulk, situations: Situations, database: Database, case: str
) -> None:
    action, edit, single = CASES[case]
    alone = {name: await make(situations) for name, make in SITUATIONS.items()}
    together = {name: await make(situations) for name, make in SITUATIONS.items()}
    expected = {name: await situations.do(single(job)) for name, job in alone.items()}
    shown = await bulk.do(action, list(together.values()), edit)
    codes = await bulk.codes(shown.id)
    assert {name: codes[job] for name, job in together.items()} == expected
    rows = {name: row_of(database, job) for name, job in together.items()}
    assert rows == {name: row_of(database, job) for name, job in alone.items()}
    refused = [code for code in expected.values() if code]
    assert shown.skipping == shown.codes == {code: refused.count(code) for code in refused}
    assert (shown.done, shown.skipped) == (len(expected) - len(refused), len(refused))


@pytest.mark.parametrize(("action", "ended"), [(BulkAction.RETRY, "failed"), (BulkAction.RESTORE, "cancelled")])
async def test_of_several_jobs_that_want_one_key_the_first_gets_it(
    bulk: Bulk, situations: Situations, action: BulkAction, ended: str
) -> None:
    key = new_id()
    make = situations.failed if ended == "failed" else situations.cancelled
    jobs = [await make(unique_key=key) for _ in range(3)]
    shown = await bulk.do(action, jobs)
    assert (shown.done, shown.codes) == (1, {"unique_key_taken": 2})
    items = await bulk.items(shown.id)
    assert [item.outcome for item in items] == ["done", "skipped", "skipped"]


async def test_a_bulk_retry_takes_jobs_out_of_their_error_groups(
    bulk: Bulk, situations: Situations, database: Database
) -> None:
    def failed_now() -> int:
        return int(rows_of(database.owner_url, "SELECT coalesce(sum(failed_now), 0) FROM error_group")[0][0])

    before = failed_now()
    jobs = [await situations.failed() for _ in range(3)]
    assert failed_now() == before + 3
    shown = await bulk.do(BulkAction.RETRY, [*jobs[:2], await situations.pending()])
    assert (shown.done, shown.skipped) == (2, 1)
    assert failed_now() == before + 1


async def test_a_cancel_of_running_jobs_tells_which_workers_must_stop_what(
    bulk: Bulk, situations: Situations, database: Database
) -> None:
    job, other = await situations.running(), await situations.pending()
    query = "SELECT token FROM job WHERE id = %s"
    [(token,)] = rows_of(database.owner_url, query, (job,))
    await bulk.do(BulkAction.CANCEL, [job, other])
    [(worker, signal)] = bulk.carried[-1].stopped
    assert (worker, signal.job, signal.token, signal.cause) == ("worker-1", job, token, "cancelled")


async def test_the_history_of_a_job_does_not_show_that_it_was_not_alone(bulk: Bulk, situations: Situations) -> None:

    job = await situations.failed()
    done = await bulk.do(BulkAction.RETRY, [job], reason="the disk is back")
    await situations.do(CancelJob(job_id=JobId(job)))
    async with bulk.journal.pool.connection() as conn:
        history = await events_of(conn, JobId(job))
        assert await events_of(conn, JobId(job), 3, 1) == history[3:4]
    assert [event.type for event in history][-3:] == ["job.failed.v1", "job.retried.v1", "job.cancelled.v1"]
    assert [event.version for event in history] == list(range(1, 6))
    retried = history[-2]
    body = retried.body()
    assert (retried.stream_id, retried.reason, retried.operation_id) == (job, "the disk is back", done.id)
    assert {event.operation_id for event in history if event is not retried} == {None}
    assert body == {"queue": "default", "kind": "test.echo", "before": "FAILED", "after": "PENDING"} | {
        "run_at": body["run_at"]
    }
