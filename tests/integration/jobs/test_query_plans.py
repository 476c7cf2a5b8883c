"""Every hot statement is served by indexes and reads no more rows than it must, however many there are.

No statement is repeated here: the parts of the service run, and PostgreSQL tells the plan of whatever it is asked.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database as databases
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.contracts.commands import CancelJob, RetryJob
from jobplane.contracts.error_groups import ErrorSort, ListErrorGroups, OneErrorGroup
from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.operations import BulkAction
from jobplane.contracts.queries import CountJobs, JobSort, ListJobs, OneCommand, OneJob, OneJobHistory
from jobplane.contracts.search_grammar import parse
from jobplane.contracts.workers import Beat, LeaseRequest, RunningJob
from jobplane.jobs import search_crossings
from jobplane.jobs.beats import Beats
from jobplane.jobs.chunks import MOST, carry_out_next
from jobplane.jobs.claims import Claims
from jobplane.jobs.error_views import ErrorViews
from jobplane.jobs.histories import Histories
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.pruner import Pruner
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.redaction import DEFAULT_KEYS, Redaction
from jobplane.jobs.rescuer import Rescuer
from jobplane.jobs.scheduler import Scheduler
from jobplane.jobs.search import Search
from jobplane.jobs.search_index import SearchIndex
from jobplane.jobs.search_steps import FIRST_LOOK
from jobplane.jobs.store import Due
from tests.bench.scale import mix
from tests.bench.scale.populate import Generator
from tests.integration.jobs.bulking import Bulk
from tests.integration.jobs.wishing import command
from tests.support import servers
from tests.support.servers import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")

_REDACTION = Redaction.of(DEFAULT_KEYS.split(","))
_JOBS = 10_000
_PARKED = 12 * 512
_RUNS = 250
"""More than there are at any time."""
_DUE = 20
_LARGE = frozenset({"job", "job_search", "event", "body", "command_outcome", "error_group", "error_trend"})
"""Tables that grow with the jobs, or with what they fail of."""
_EXPLAINED = (
    "session_preload_libraries = 'auto_explain'",
    "auto_explain.log_min_duration = 0",
    "auto_explain.log_analyze = on",
    "auto_explain.log_timing = off",
    "auto_explain.log_format = 'json'",
    "auto_explain.log_level = 'notice'",
)
_MORE_GROUPS = """
INSERT INTO jobs.error_group
SELECT to_hex(n + x'1000000000000000'::bigint), 'Rare', '{scale.mail}', '{work-1}', now(), now() - n * interval '1 s',
    n % 7, 0, gen_random_uuid(), NULL FROM generate_series(1, 5000) AS n
"""
_MORE_TRENDS = """
INSERT INTO jobs.error_trend SELECT fingerprint, date_trunc('hour', now(), 'UTC') - n * interval '1 hour', n
FROM jobs.error_group, generate_series(1, 60) AS n WHERE type = 'Rare'
"""
_SERVABLE = "UPDATE jobs.beat_service SET since = now() - interval '1 day', served_until = 'infinity'"
_SOME = "SELECT id::text FROM jobs.job WHERE status = %s AND queue LIKE 'work-%%' ORDER BY id LIMIT 8"
_TO_CANCEL = "SELECT id::text FROM jobs.job WHERE queue = %s AND status = 'PENDING' ORDER BY id LIMIT %s"
_MAKE_DUE = """
UPDATE jobs.job SET run_at = now() WHERE id IN (
    SELECT id FROM jobs.job WHERE status = 'PENDING' AND NOT ready ORDER BY run_at LIMIT %s
)
"""
_END_A_LEASE = """
UPDATE jobs.job SET lease_until = now() WHERE id = (
    SELECT id FROM jobs.job WHERE status = 'RUNNING' AND lease_until > now() LIMIT 1
)
"""


@dataclass(slots=True)
class Plans:
    """What PostgreSQL told of the statements of one connection."""

    found: list[dict[str, Any]] = field(default_factory=list)

    def hear(self, told: psycopg.errors.Diagnostic) -> None:
        text = told.message_primary or ""
        if "plan:" in text:
            plan = json.loads(text.split("plan:", 1)[1])
            if not plan["Query Text"].startswith("EXPLAIN"):  # was only planned
                self.found.append(plan)

    def nodes(self) -> Iterator[dict[str, Any]]:
        """All nodes of all plans."""
        for plan in self.found:
            yield from _below(plan["Plan"])

    def scans(self) -> list[dict[str, Any]]:
        """The nodes that read a large table."""
        return [
            node
            for node in self.nodes()
            if node.get("Relation Name") in _LARGE and str(node["Node Type"]).endswith("Scan")
        ]

    def indexes(self) -> set[str]:
        """Through which indexes tables were read."""
        return {node["Index Name"] for node in self.nodes() if "Index Name" in node}

    def told(self) -> str:
        """The essence, for a failing test."""
        lines = []
        for plan in self.found:
            lines.append(" ".join(plan["Query Text"].split())[:300])
            lines += [f"    {_short(node)}" for node in _below(plan["Plan"])]
        return "\n".join(lines)


def _below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _below(child)


def _rows(node: dict[str, Any]) -> float:
    """How many rows were looked at, in all loops."""
    discarded = sum(node.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
    return float((node["Actual Rows"] + discarded) * node["Actual Loops"])


def _short(node: dict[str, Any]) -> str:
    what = " ".join(str(node[name]) for name in ("Node Type", "Relation Name", "Index Name") if name in node)
    return f"{what}: {_rows(node):.0f} rows {node.get('Index Cond', '')} {node.get('Filter', '')}"


@dataclass(frozen=True, slots=True)
class Desk:
    """The parts of the service on one connection, and jobs to ask for."""

    pool: AsyncConnectionPool
    admin: psycopg.Connection[Any]
    plans: Plans
    ledger: Ledger
    claims: Claims
    model: ReadModel
    search: Search
    ids: dict[JobStatus, list[JobId]]
    command_id: CommandId
    middle: str
    """A cursor in the middle of all lists."""
    end: str
    """A cursor behind which only some hundreds are left."""


@pytest.fixture(scope="module")
def database(migrated_template: Database) -> Iterator[Database]:
    """One for the module."""
    copy = servers.copy_of(migrated_template)
    yield copy
    servers.drop(copy)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(database: Database) -> Database:
    """Ten thousand jobs with their histories, and two thousand that wait to be taken; from now on explained."""
    pool = await databases.open_pool(database.url("jobs"), schema="jobs", service="jobs", min_size=2)
    filling = Generator.on(pool)
    await filling.fill(_JOBS, seed=1)
    for first in range(0, _PARKED, 512):
        await filling.create(mix.parked(first, 512))
    await SearchIndex(pool, _REDACTION).run_once()
    await pool.close()
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute(_MORE_GROUPS)
        admin.execute(_MORE_TRENDS)
        admin.execute("VACUUM (FREEZE, ANALYZE) " + ", ".join(f"jobs.{table}" for table in sorted(_LARGE)))
        admin.execute(_SERVABLE)
        for setting in _EXPLAINED:
            admin.execute(f'ALTER DATABASE "{database.name}" SET {setting}')
    return database


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(filled: Database) -> AsyncIterator[Desk]:
    """One connection, whose plans are heard."""
    plans = Plans()
    pool = await databases.open_pool(filled.url("jobs"), schema="jobs", service="jobs", min_size=1, max_size=1)
    async with pool.connection() as conn:
        conn.add_notice_handler(plans.hear)
    ledger, model = Ledger(PostgresStore(Journal(pool))), ReadModel(pool)
    with psycopg.connect(filled.admin_url, autocommit=True) as admin:
        admin.execute("SET client_min_messages = 'warning'")
        ids = {status: [row[0] for row in admin.execute(_SOME, (status,)).fetchall()] for status in JobStatus}
        row = admin.execute("SELECT command_id::text FROM jobs.command_outcome LIMIT 1").fetchone()
        assert row is not None
        middle = await _cursor_at(model, _JOBS // 2)
        end = await _cursor_at(model, _JOBS + _PARKED - 400)
        search = Search(pool, model, _REDACTION, timeout_ms=2500)
        yield Desk(pool, admin, plans, ledger, Claims(ledger, pool), model, search, ids, CommandId(row[0]), middle, end)
    await pool.close()


async def _cursor_at(model: ReadModel, depth: int) -> str:
    cursor = None
    for _ in range(depth // 200):
        cursor = (await model.page(ListJobs(limit=200, cursor=cursor))).next_cursor
    assert cursor is not None
    return cursor


@dataclass(frozen=True, slots=True)
class Hot:
    """Something that is done all the time."""

    do: Callable[[Desk], Awaitable[object]]
    indexes: set[str]
    """Through which tables may be read."""
    rows: int
    """How many rows of the large tables at most."""
    sorts: int = 0
    """How many rows may be sorted, in all."""
    through: dict[str, int] = field(default_factory=dict)
    """How many rows at most may be looked at through some of the indexes."""
    anew: bool = False
    """It is never planned once for all: how many match decides how to look."""


def _page(**asked: Any) -> Callable[[Desk], Awaitable[object]]:
    return lambda desk: desk.model.page(ListJobs(**asked))


def _deep(**asked: Any) -> Callable[[Desk], Awaitable[object]]:
    return lambda desk: desk.model.page(ListJobs(cursor=desk.middle, **asked))


def _last(**asked: Any) -> Callable[[Desk], Awaitable[object]]:
    """Where few jobs are left, and the planner may think that looking at all of them is as good."""
    return lambda desk: desk.model.page(ListJobs(cursor=desk.end, **asked))


def _found(query: str, **asked: Any) -> Callable[[Desk], Awaitable[object]]:
    return lambda desk: desk.search.page(ListJobs(filter=parse(query), **asked))


async def _crossing(desk: Desk) -> None:
    """With a queue and a kind, of 1 in 16 each, that would be looked at if there were only so many jobs."""
    with patch.object(search_crossings, "WORTH", 100):
        page = await desk.search.page(ListJobs(filter=parse("queue:work-3 kind:scale.export")))
    assert len(page.items) > 0


def _counted(query: str) -> Callable[[Desk], Awaitable[object]]:
    return lambda desk: desk.search.count(CountJobs(filter=parse(query)))


def _request(most: int, worker: str = "worker-1") -> LeaseRequest:
    return LeaseRequest(request_id=new_id(), worker=worker, kinds=[mix.PARKED_KIND, "test.other"], max=most)


def _claim(most: int) -> Callable[[Desk], Awaitable[object]]:
    return lambda desk: desk.claims.claim(mix.PARKED_QUEUE, [_request(most)])


async def _beat(desk: Desk) -> None:
    [[job]] = (await desk.claims.claim(mix.PARKED_QUEUE, [_request(1, "worker-2")])).jobs
    desk.plans.found.clear()
    running = [RunningJob(job=job.job, token=job.token), RunningJob(job=JobId(new_id()), token="0" * 32)]
    await Beats(desk.ledger, desk.pool).serve([Beat(worker="worker-2", running=running)])


async def _repeated(desk: Desk) -> None:
    """A command that comes twice, beside another."""
    twice = command(CancelJob(job_id=desk.ids[JobStatus.COMPLETED].pop()))
    await desk.ledger.settle([twice])
    desk.plans.found.clear()
    await desk.ledger.settle([twice, command(RetryJob(job_id=desk.ids[JobStatus.FAILED].pop()))])


async def _schedule(desk: Desk) -> None:
    desk.admin.execute(_MAKE_DUE, (_DUE,))
    assert await Scheduler(desk.pool, lambda _: None).run_once() == _DUE


async def _expire(desk: Desk) -> None:
    desk.admin.execute(_END_A_LEASE)
    assert await Rescuer(desk.ledger, desk.pool).settle(Due.EXPIRED) == 1


async def _chunk(desk: Desk) -> None:
    bulk = Bulk(desk.pool)
    ids = [row[0] for row in desk.admin.execute(_TO_CANCEL, (mix.PARKED_QUEUE, MOST)).fetchall()]
    operation = await bulk.request(BulkAction.CANCEL, ids)
    await bulk.planner.run_once()
    desk.plans.found.clear()
    carried = await carry_out_next(bulk.journal, operation, BulkAction.CANCEL)
    assert carried is not None
    assert carried.changed == MOST


async def _relay(desk: Desk) -> None:
    assert len(await Journal(desk.pool).after(12_345, 1000)) == 1000


def _groups(**asked: Any) -> Callable[[Desk], Awaitable[object]]:
    return lambda desk: ErrorViews(desk.pool).page(ListErrorGroups(**asked))


async def _one_group(desk: Desk) -> None:
    error = (await desk.model.one(OneJob(job_id=desk.ids[JobStatus.FAILED][0]))).error
    assert error is not None
    desk.plans.found.clear()
    await ErrorViews(desk.pool).one(OneErrorGroup(fingerprint=error.fingerprint))


async def _look(desk: Desk) -> None:
    assert await Rescuer(desk.ledger, desk.pool).run_once() == 0


_A_PAGE = 51
_WITH_ERRORS = 2 * _A_PAGE
_OF_EACH_STATUS = 5 * _A_PAGE
_RUNNING = {"job_running", "job_running_newest"}
"""Both have as many rows as there are runs."""
_OF_A_QUEUE = {"job_over_by_queue", "job_pending_by_queue", "job_running_newest", "body_pkey"}
_OF_A_KIND = {"job_over_by_kind", "job_pending_by_kind", "job_running_newest", "body_pkey"}
_SEARCHED = {"job_pkey", "job_search_pkey", "job_search_terms", "body_pkey", "search_progress_pkey"}
_RANKED = {"job_over_by_worker", "job_pending", "job_running_newest", "job_pkey", "body_pkey", "search_progress_pkey"}
_WALKED = {*_SEARCHED, "job_over", "job_over_by_kind", "job_pending_by_kind", "job_running_newest"}
_LOOKED = 2 * FIRST_LOOK
"""Jobs of a first look, with their entries."""
_UNSUMMED = 1_500
"""The last pages of the table, which the ranges do not know before a vacuum: how full they are is chance."""
_WRITING = {
    "job_pkey",
    "body_pkey",
    "command_outcome_pkey",
    "job_unique_key",
    "error_group_pkey",
    "journal_head_pkey",
    "job_count_pkey",
}
_OF_A_GROUP = {"error_trend_pkey", "body_pkey"}
_A_DAY = 51 * 24
_PRUNED = {
    *("command_outcome_at", "command_outcome_pkey", "error_trend_hour", "error_trend_pkey"),
    *("error_group_last", "error_group_failed", "error_group_pkey"),
}
_OF_A_CHUNK = {"operation_pkey", "operation_open", "plan_chunk_pkey", "job_pkey", "event_stream_id_version_key"}
HOT = {
    "page": Hot(_page(), {"job_pkey", "body_pkey"}, _WITH_ERRORS),
    "deep page": Hot(_deep(), {"job_pkey", "body_pkey"}, _WITH_ERRORS),
    "page of a status": Hot(_page(status=["FAILED"]), {"job_over", "body_pkey"}, _WITH_ERRORS, _A_PAGE),
    "deep page of a status": Hot(_deep(status=["FAILED"]), {"job_over", "body_pkey"}, _WITH_ERRORS, _A_PAGE),
    "page of a rare status": Hot(_page(status=["RUNNING"]), {"job_running_newest", "body_pkey"}, _WITH_ERRORS, _A_PAGE),
    "last page of a rare status": Hot(
        _last(status=["RUNNING"]), {"job_running_newest", "body_pkey"}, _WITH_ERRORS, _A_PAGE
    ),
    "last page of a rare status of a queue": Hot(
        _last(queue=["work-0"], status=["RUNNING"]), {"job_running_newest", "body_pkey"}, _RUNS, _A_PAGE
    ),
    "page of a queue": Hot(_page(queue=["work-1"]), _OF_A_QUEUE, 400, _OF_EACH_STATUS),
    "deep page of a queue": Hot(_deep(queue=["work-1"]), _OF_A_QUEUE, 400, _OF_EACH_STATUS),
    "page of a rare queue": Hot(_page(queue=["work-7"]), _OF_A_QUEUE, 400, _OF_EACH_STATUS),
    "page of no queue": Hot(_page(queue=["test-none"]), _OF_A_QUEUE, _RUNS),
    "deep page of a kind": Hot(_deep(kind=["scale.mail"]), _OF_A_KIND, 400, _OF_EACH_STATUS),
    "page of a rare kind": Hot(_page(kind=["scale.rare"]), _OF_A_KIND, 400, _OF_EACH_STATUS),
    "page of a queue and a status": Hot(
        _deep(queue=["work-1"], status=["FAILED"]), {"job_over_by_queue", "body_pkey"}, _WITH_ERRORS, _A_PAGE
    ),
    "page of a kind and two states": Hot(
        _deep(kind=["scale.mail"], status=["FAILED", "CANCELLED"]),
        {"job_over_by_kind", "body_pkey"},
        2 * _WITH_ERRORS,
        2 * _A_PAGE,
    ),
    "page of all filters": Hot(
        _page(kind=["scale.mail"], queue=["work-0"], status=["FAILED"]),
        {"job_over_by_queue", "body_pkey"},
        300,
        _A_PAGE,
    ),
    "search for a common word": Hot(_found("scale"), _SEARCHED, _LOOKED + _WITH_ERRORS, _LOOKED),
    "search for a rare word": Hot(_found("4711"), _SEARCHED, _LOOKED + 30, _LOOKED),
    "search for a rare value": Hot(_found("payload.n:4711"), _SEARCHED, _LOOKED + 30, _LOOKED),
    "search for nothing": Hot(_found("payload.n:4711 zebra"), _SEARCHED, _LOOKED + 30, _LOOKED),
    "search for a tag": Hot(_found("tag:customer-7"), _SEARCHED, FIRST_LOOK + 8 * _A_PAGE, _LOOKED),
    "search among the failed": Hot(
        _found('status:failed error:"no such customer"'), _WALKED, 2 * _LOOKED + _WITH_ERRORS, _LOOKED
    ),
    "search for an old error of a kind": Hot(
        _found("error:customer payload.n:4711 kind:scale.mail"), _WALKED, 7 * FIRST_LOOK, 7 * FIRST_LOOK
    ),
    "oldest first": Hot(_found("scale", sort=JobSort.OLDEST), _SEARCHED, _LOOKED + _WITH_ERRORS, _LOOKED),
    "search by id": Hot(_found("id:0192"), _SEARCHED, _LOOKED, _LOOKED),
    "search for two tags among the failed": Hot(
        _found("tag:customer-7,customer-8 status:failed"), _WALKED, 2 * _LOOKED + _WITH_ERRORS, _LOOKED
    ),
    "search for a tag of a rare kind": Hot(
        _found("tag:customer-7 kind:scale.rare"), _WALKED, 2 * _LOOKED + _WITH_ERRORS, _LOOKED
    ),
    "search for the jobs of a worker": Hot(_found("worker:scale-worker"), _RANKED, 4 * FIRST_LOOK, 4 * FIRST_LOOK),
    "search for no worker": Hot(_found("worker:none"), _RANKED, _RUNS),
    "search for a kind of no worker": Hot(
        _found("worker:none kind:scale.mail"), {*_RANKED, "job_pending_by_kind"}, 3 * _RUNS
    ),
    "search for the failed of a rare kind in a large queue": Hot(
        _found("kind:scale.rare queue:work-0 status:failed"), _WALKED, _WITH_ERRORS, FIRST_LOOK
    ),
    "search for an urgency that nobody has": Hot(
        _found("priority:>=900"), {*_SEARCHED, "job_ranges"}, _LOOKED + _UNSUMMED, _LOOKED
    ),
    "search for many attempts": Hot(_found("attempt:>=50"), {*_SEARCHED, "job_ranges"}, _LOOKED + _UNSUMMED, _LOOKED),
    "search for an end": Hot(_found("finished:2020-01-01..2020-01-02"), {*_WALKED, "job_finished"}, _LOOKED, _LOOKED),
    "what failed last": Hot(
        _found("status:failed", sort=JobSort.LATEST_FINISHED),
        {*_SEARCHED, "job_finished"},
        _LOOKED + _WITH_ERRORS,
        _LOOKED,
    ),
    "what waits, in the order of ends": Hot(
        _found("status:pending", sort=JobSort.LATEST_FINISHED), _RANKED, _LOOKED, _LOOKED
    ),
    "a rare kind in the order of ends": Hot(
        _found("kind:scale.rare", sort=JobSort.EARLIEST_FINISHED),
        {*_WALKED, "job_finished"},
        _LOOKED,
        _LOOKED,
        anew=True,
    ),
    "a rare queue in the order of starts": Hot(
        _found("queue:work-7", sort=JobSort.LATEST_STARTED), _OF_A_QUEUE | _SEARCHED, _LOOKED, _LOOKED, anew=True
    ),
    "search in a minute": Hot(_found("created:2020-01-01..2020-01-02 zebra"), _SEARCHED, 10, 10),
    "count of a worker": Hot(_counted("worker:none"), {*_RANKED, "job_running"}, _RUNS, anew=True),
    "search for a queue and a kind": Hot(_crossing, _OF_A_QUEUE | _OF_A_KIND | _SEARCHED, 4 * FIRST_LOOK, 2 * _LOOKED),
    "count of a rare word": Hot(_counted("4711"), _SEARCHED, 10),
    "one job": Hot(
        lambda desk: desk.model.one(OneJob(job_id=desk.ids[JobStatus.FAILED][0])), {"job_pkey", "body_pkey"}, 4
    ),
    "history": Hot(
        lambda desk: Histories(desk.pool, desk.model).history(OneJobHistory(job_id=desk.ids[JobStatus.FAILED][0])),
        {"event_stream_id_version_key", "event_pkey", "job_pkey", "archived_job_pkey", "body_pkey"},
        8,
        8,
    ),
    "counts": Hot(lambda desk: desk.model.stats(), {"job_ready", "job_count_pkey"}, 200, 100),
    **{
        f"page of error groups by {sort}": Hot(_groups(sort=sort), {index, *_OF_A_GROUP}, _A_DAY + _WITH_ERRORS)
        for sort, index in (
            (ErrorSort.LAST_SEEN, "error_group_last"),
            (ErrorSort.COUNT, "error_group_count"),
            (ErrorSort.FAILED_NOW, "error_group_failed"),
        )
    },
    "error group": Hot(_one_group, {"error_group_pkey", "job_by_error", *_OF_A_GROUP}, 40),
    "outcome": Hot(
        lambda desk: desk.model.command(OneCommand(command_id=desk.command_id)),
        {"command_outcome_pkey", "job_pkey", "body_pkey"},
        5,
    ),
    "commands": Hot(_repeated, _WRITING, 20, 6),
    "claim of one": Hot(_claim(1), {"job_ready", *_WRITING}, 10),
    "claim of many": Hot(_claim(100), {"job_ready", *_WRITING}, 500),
    "beat": Hot(_beat, {"job_pkey", "job_stopping", *_RUNNING}, 2 * _RUNS, 2 * _RUNS),
    "rescuer's look": Hot(_look, {"job_stopping", *_RUNNING}, 2 * _RUNS),
    "rescuer": Hot(_expire, {*_RUNNING, *_WRITING}, 2 * _RUNS, 10),
    # While few jobs are PENDING, joining what is due with all of them is thought to be cheaper than one look for each.
    "scheduler": Hot(
        _schedule,
        {"job_waiting", "job_pkey", "job_pending", "job_pending_by_queue", "job_pending_by_kind"},
        _PARKED + _JOBS // 20,
        2 * _DUE,
        {"job_waiting": 2 * _DUE},
    ),
    "chunk of a bulk operation": Hot(_chunk, _OF_A_CHUNK, 3 * MOST, 3 * MOST),
    "pruner": Hot(lambda desk: Pruner(desk.pool).run_once(), _PRUNED, 0),
    "page of the relay": Hot(_relay, {"event_pkey"}, 1000),
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", HOT)
async def test_a_hot_statement_reads_no_more_than_it_must(desk: Desk, name: str, mode: str) -> None:
    """Planned for its parameters, and planned once for all: with prepared statements the choice is PostgreSQL's."""
    hot, plans = HOT[name], desk.plans
    if hot.anew and mode == "force_generic_plan":
        return
    async with desk.pool.connection() as conn:
        await conn.execute(f"SET plan_cache_mode = {mode}")
    plans.found.clear()
    await hot.do(desk)
    assert plans.found
    assert [node for node in plans.scans() if node["Node Type"] == "Seq Scan"] == [], plans.told()
    assert plans.indexes() <= hot.indexes, plans.told()
    assert sum(map(_rows, plans.scans())) <= hot.rows, plans.told()
    for index, most in hot.through.items():
        assert sum(_rows(node) for node in plans.nodes() if node.get("Index Name") == index) <= most, plans.told()
    sorts = sum(_rows(node) for node in plans.nodes() if str(node["Node Type"]).endswith("Sort"))
    assert sorts <= hot.sorts, plans.told()


_ASKED: list[dict[str, list[str]]] = [
    {},
    {"status": ["FAILED"]},
    {"status": ["FAILED", "CANCELLED", "FAILED"]},
    {"queue": ["work-1"]},
    {"queue": ["work-0", "work-7", "parked"]},
    {"kind": ["scale.mail", "scale.rare"]},
    {"kind": ["scale.mail"], "status": ["PENDING", "COMPLETED"]},
    {"kind": ["scale.image", "scale.rare"], "queue": ["work-0", "work-2"], "status": ["FAILED", "COMPLETED"]},
]


@pytest.mark.parametrize("asked", _ASKED, ids=str)
async def test_a_filtered_list_is_what_plain_sql_finds(desk: Desk, asked: dict[str, list[str]]) -> None:
    """However the statement is put together: no job is missing, none comes twice, the newest is first."""
    conditions = ["true", *(f"{column} = ANY(%({column})s)" for column in asked)]
    plain = f"SELECT id::text FROM jobs.job WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT 150"
    wanted = [row[0] for row in desk.admin.execute(plain, asked).fetchall()]
    found: list[str] = []
    cursor = None
    for _ in range(3):
        page = await desk.model.page(ListJobs.model_validate({**asked, "cursor": cursor, "limit": 50}))
        found += [job.id for job in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == wanted
