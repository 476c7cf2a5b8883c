"""How long the questions take that depend on how many jobs there are: in SQL, in the parts and through the API."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import psycopg
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database
from jobplane.chassis.ids import new_id
from jobplane.contracts.cursors import opened, sealed
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.queries import CountJobs, JobSort, ListJobs, OneJob, OneJobHistory
from jobplane.contracts.search_grammar import parse
from jobplane.contracts.workers import DoneItem, DoneReport, LeaseRequest
from jobplane.jobs import read_model, search_cursor
from jobplane.jobs.histories import Histories
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.redaction import DEFAULT_KEYS, Redaction
from jobplane.jobs.rescuer import Rescuer
from jobplane.jobs.scheduler import Scheduler
from jobplane.jobs.search import Search
from jobplane.jobs.search_cursor import Place
from jobplane.jobs.search_index import SearchIndex
from tests.bench.figures import percentile
from tests.bench.http_client import HttpClient
from tests.bench.scale import mix
from tests.bench.scale.populate import Generator
from tests.support.platform import Platform

Figures = dict[str, float]
Filter = Mapping[str, list[str]]

FILTERS: Final[Mapping[str, Filter]] = {
    "all": {},
    "status FAILED": {"status": ["FAILED"]},
    "status RUNNING": {"status": ["RUNNING"]},
    "queue, half of all": {"queue": [mix.BUSY_QUEUES[0]]},
    "queue, 1 in 1,000": {"queue": [mix.BUSY_QUEUES[-1]]},
    "kind, half of all": {"kind": [mix.KINDS[0]]},
    "kind, 1 in 1,000": {"kind": [mix.KINDS[-1]]},
    "queue and FAILED": {"queue": [mix.BUSY_QUEUES[1]], "status": ["FAILED"]},
    "kind and FAILED": {"kind": [mix.KINDS[0]], "status": ["FAILED"]},
    "queue, kind and FAILED": {"queue": [mix.BUSY_QUEUES[0]], "kind": [mix.KINDS[0]], "status": ["FAILED"]},
}
DEPTHS: Final = {"first": 0.0, "at 50 %": 0.5, "at 99 %": 0.99}
SEARCHES: Final[Mapping[str, str]] = {
    "word in every job": "scale",
    "word in 1 of 200": "customer-7",
    "word in 1 of 60": "reset",
    "word in one job": "4711",
    "beginning of a word": "4711*",
    "words in the error": 'status:failed error:"no such customer"',
    "payload, one job": "payload.n:4711",
    "payload, 1 in 20": "payload.end:failed",
    "payload and word, none": "payload.end:failed payload.n:1 zebra",
    "tag, 1 in 200": "tag:customer-7",
    "kind by its beginning": "kind:scale.r*",
    "two tags": "tag:customer-7,customer-8",
    "two tags and FAILED": "tag:customer-7,customer-8 status:failed",
    "tag and FAILED, of a kind": "tag:customer-7 status:failed kind:scale.sync",
    "tag and priority": "tag:customer-7 priority:>=5",
    "two words, 1 in 60 and 1 in 20": "reset payload.end:failed",
    "rare queue and kind": "queue:work-6 kind:scale.push",
    "priority and status": "priority:>=5 status:completed",
    "worker": "worker:scale-holder",
    "worker of nearly all": "worker:scale-worker",
    "no such worker": "worker:none",
    "no such worker, a kind": "worker:none kind:scale.push",
    "beginning of an id": "{id}",
    "created in a minute": "created:{minute}",
    "word in a minute": "scale created:{minute}",
    "ended in a minute": "finished:{minute}",
    "ended before all": "finished:<2020-01-01",
    "priority that none has": "priority:>=900",
    "attempts that none took": "attempt:>=50",
}
"""Queries; the braces are filled from the middle of all jobs."""
_ID: Final = re.compile(r"[0-9a-f-]{36}")
_TIMES: Final = 60
_WARM: Final = 8
_MIDDLE: Final = "SELECT id::text, date_trunc('minute', created_at) FROM jobs.job ORDER BY id OFFSET %s LIMIT 1"
_AT: Final = "SELECT id::text FROM jobs.job ORDER BY id DESC OFFSET %s LIMIT 1"


async def of_database(url: str, admin: psycopg.Connection[Any], times: int = _TIMES) -> Figures:
    """Milliseconds by the name of the question, and ``p50`` or ``p95``."""
    pool = await database.open_pool(url, schema="jobs", service="scale", min_size=2)
    try:
        found = await _pages(pool, cursors(admin), times)
        found |= await _searches(pool, cursors(admin), queries(admin), times)
        return found | await _looks(pool, times) | await _claims(pool, times)
    finally:
        await pool.close()


def cursors(admin: psycopg.Connection[Any]) -> dict[str, str | None]:
    """Where the pages of each depth begin."""
    whole = admin.execute("SELECT sum(n)::bigint FROM jobs.job_count").fetchone()
    assert whole is not None
    found: dict[str, str | None] = {}
    for name, share in DEPTHS.items():
        row = admin.execute(_AT, (int(whole[0] * share),)).fetchone() if share else None
        found[name] = None if row is None else sealed(row[0])
    return found


async def _pages(pool: AsyncConnectionPool, places: Mapping[str, str | None], times: int) -> Figures:
    found: Figures = {}
    for depth, cursor in places.items():
        for name, asked in FILTERS.items():
            statement, parameters = read_model.select(ListJobs.model_validate({"cursor": cursor, **asked}))

            async def ask(statement: str = statement, parameters: Any = parameters) -> None:
                async with pool.connection() as conn:
                    await (await conn.execute(statement, parameters)).fetchall()

            found |= await timed(f"sql page {depth}, {name}", ask, times)
    return found


def queries(admin: psycopg.Connection[Any]) -> dict[str, str]:
    """The searches, about jobs that there are."""
    row = admin.execute("SELECT sum(n)::bigint / 2 FROM jobs.job_count").fetchone()
    assert row is not None
    found = admin.execute(_MIDDLE, row).fetchone()
    assert found is not None
    job_id, minute = found
    after = minute + timedelta(minutes=1)
    told = {"id": job_id[:20], "minute": f"{minute.isoformat()}..{after.isoformat()}"}
    return {name: query.format_map(told) for name, query in SEARCHES.items()}


async def _searches(
    pool: AsyncConnectionPool, places: Mapping[str, str | None], asked: Mapping[str, str], times: int
) -> Figures:
    search = Search(pool, ReadModel(pool), Redaction.of(DEFAULT_KEYS.split(",")), timeout_ms=2500)
    found: Figures = {}
    for depth, cursor in places.items():
        for name, query in asked.items():
            wanted = ListJobs(filter=parse(query), cursor=_cursor(parse(query), cursor))
            found |= await timed(f"search {depth}, {name}", lambda wanted=wanted: search.page(wanted), times)  # type: ignore[misc]
    for name, query in asked.items():
        count = CountJobs(filter=parse(query))
        found |= await timed(f"count, {name}", lambda count=count: search.count(count), min(times, 10), warm=1)  # type: ignore[misc]
    return found


def _cursor(wanted: JobFilter, plain: str | None) -> str | None:
    """The cursor of a list that leads where that of the read model does."""
    if plain is None:
        return None
    job_id = opened(plain, _ID)[0]
    return search_cursor.cursor_of(Place(job_id, 0), search_cursor.digest_of(wanted, JobSort.NEWEST))


async def index(url: str) -> Figures:
    """Index what the search does not know yet."""
    pool = await database.open_pool(url, schema="jobs", service="scale", min_size=1)
    try:
        began, searched = time.perf_counter(), SearchIndex(pool, Redaction.of(DEFAULT_KEYS.split(",")))
        events = await searched.run_once()
        return {"search index, events per second": events / (time.perf_counter() - began)} if events else {}
    finally:
        await pool.close()


async def _looks(pool: AsyncConnectionPool, times: int) -> Figures:
    model, parts = ReadModel(pool), Generator.on(pool)
    failed = (await model.page(ListJobs(limit=1, status=[JobStatus.FAILED]))).items[0].id
    rescuer, scheduler = Rescuer(parts.ledger, pool), Scheduler(pool, lambda _: None)
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "counts": model.stats,
        "one job": lambda: model.one(OneJob(job_id=failed)),
        "history": lambda: Histories(pool, model).history(OneJobHistory(job_id=failed)),
        "rescuer's look": rescuer.run_once,
        "scheduler's look": scheduler.run_once,
    }
    found: Figures = {}
    for name, ask in questions.items():
        found |= await timed(name, ask, times)
    return found


async def _claims(pool: AsyncConnectionPool, times: int) -> Figures:
    """Of the queue where ready jobs of one kind lie: by a worker for that kind, and by one for another."""
    parts = Generator.on(pool)

    async def claim() -> None:
        request = LeaseRequest(request_id=new_id(), worker="scale-claims", kinds=[mix.PARKED_KIND], max=8)
        [leased] = (await parts.claims.claim(mix.PARKED_QUEUE, [request])).jobs
        assert leased
        given_back.extend(DoneItem(job=job.job, token=job.token, outcome="released") for job in leased)

    async def in_vain() -> None:
        request = LeaseRequest(request_id=new_id(), worker="scale-claims", kinds=["test.none"], max=8)
        assert (await parts.claims.claim(mix.PARKED_QUEUE, [request])).jobs == [[]]

    given_back: list[DoneItem] = []
    found = await timed("claim of 8", claim, min(times, 4), warm=1)
    for first in range(0, len(given_back), 512):
        await parts.reports.serve([DoneReport(worker="scale-claims", items=given_back[first : first + 512])])
    return found | await timed("claim in vain, all ready jobs of other kinds", in_vain, times)


async def of_api(
    platform: Platform, places: Mapping[str, str | None], searches: Mapping[str, str], times: int = _TIMES
) -> Figures:
    """The same pages as a client sees them."""
    client = await HttpClient.connect(platform.url, platform.token())
    found: Figures = {}
    try:
        for depth, cursor in places.items():
            for name, asked in FILTERS.items():
                path = _path(JobFilter.model_validate(asked), cursor, asked)
                found |= await timed(f"api page {depth}, {name}", lambda path=path: client.get(path), times)  # type: ignore[misc]
            for name, query in searches.items():
                path = _path(parse(query), cursor, {"q": [query]})
                found |= await timed(f"api search {depth}, {name}", lambda path=path: client.get(path), times)  # type: ignore[misc]
        return found | await timed("api counts", lambda: client.get("/api/admin/stats"), times, tail=0.99)
    finally:
        await client.close()


def _path(wanted: JobFilter, plain: str | None, asked: Filter) -> str:
    cursor = _cursor(wanted, plain)
    told = [(key, value) for key, values in asked.items() for value in values]
    return f"/api/admin/jobs?{urlencode(told + ([('cursor', cursor)] if cursor else []))}"


async def timed(
    name: str, ask: Callable[[], Awaitable[object]], times: int, *, tail: float = 0.95, warm: int = _WARM
) -> Figures:
    """Milliseconds of one question, asked again and again; a refusal counts only until its pages were read once."""
    took: list[float] = []
    refused = 0
    for turn in range(times + warm):
        began = time.perf_counter()
        try:
            await ask()
        except Unavailable:
            if turn >= warm:
                raise
            refused += 1
        took.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0)
    found = {f"{name} p50": percentile(took[warm:], 0.5), f"{name} p{tail * 100:.0f}": percentile(took[warm:], tail)}
    return found | ({f"{name} refused while cold": float(refused)} if refused else {})
