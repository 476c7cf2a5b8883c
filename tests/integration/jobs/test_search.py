"""The search finds exactly what a plain predicate finds, whatever the jobs went through and however it looks."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.contracts.commands import CancelJob
from jobplane.contracts.contradictions import contradiction
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.job_filter import Bounds, JobFilter, Span
from jobplane.contracts.jobs import CountRelation, JobStatus, JobView
from jobplane.contracts.operations import BulkAction, PlanOperation
from jobplane.contracts.queries import CountJobs, JobSort, ListJobs
from jobplane.contracts.search_grammar import parse
from jobplane.jobs import search, search_crossings, search_ends, search_index, search_steps, search_stretches
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.redaction import DEFAULT_KEYS, Redaction
from jobplane.jobs.search import Search
from jobplane.jobs.search_cursor import Place, cursor_of, digest_of
from jobplane.jobs.search_index import SearchIndex
from jobplane.jobs.search_sql import matching
from tests.integration.jobs import searching, wishing
from tests.integration.jobs.bulking import Bulk
from tests.integration.jobs.search_model import Known, matches
from tests.support.servers import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")

REDACTION = Redaction.of(DEFAULT_KEYS.split(","))
_NOTHING = {
    "error:brown",
    'error:"peer connection"',
    "payload.user:43",
    "zebra",
    "hunter2",
    '"brown quick"',
    "older:1h",
    "newer:1h older:30m",
    "fingerprint:0123456789abcdef",
    "42 default",
}
"""Queries that must find nothing; all others find something."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(pool: AsyncConnectionPool, database: Database) -> list[Known]:
    """Jobs of all sorts, newest first; all of them indexed, some before they had lived to their end."""
    ledger, index = Ledger(PostgresStore(Journal(pool))), SearchIndex(pool, REDACTION)
    early = await searching.build(ledger, count=60, seed=4)
    await index.run_once()
    await searching.build(ledger, count=60, seed=5)
    await searching.live_on(ledger, early, seed=6)
    await index.run_once()
    jobs = await searching.known(pool, database)
    assert {one.job.status for one in jobs} == set(JobStatus)
    return jobs


@pytest.fixture
def finder(pool: AsyncConnectionPool) -> Search:
    return Search(pool, ReadModel(pool), REDACTION, timeout_ms=8000)


def expected(jobs: Sequence[Known], wanted: JobFilter) -> list[str]:
    """The ids of what the filter means, newest first."""
    now = clock.now()
    return [one.job.id for one in jobs if matches(wanted, one, now)]


async def walk(finder: Search, limit: int, **asked: object) -> list[JobView]:
    """Every page, one after the other."""
    found: list[JobView] = []
    cursor: str | None = None
    while True:
        page = await finder.page(ListJobs.model_validate({"cursor": cursor, "limit": limit, **asked}))
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert page.items


@pytest.mark.parametrize("query", searching.QUERIES)
async def test_all_that_match_are_found(filled: list[Known], pool: AsyncConnectionPool, query: str) -> None:
    found = matching(parse(query), REDACTION)
    async with pool.connection() as conn:
        rows = await (await conn.execute(found.text, found.parameters)).fetchall()
    assert sorted(row[0] for row in rows) == sorted(expected(filled, parse(query)))
    assert bool(rows) is (query not in _NOTHING)


@pytest.mark.parametrize("look", [1, 7, 500], ids="first look at {}".format)
@pytest.mark.parametrize("few", [3, 10_000], ids="at most {} sorted".format)
async def test_pages_are_walked_in_order_without_gap_or_repeat(
    filled: list[Known], finder: Search, look: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they come from a walk, from the index, or from both."""
    monkeypatch.setattr(search_steps, "FIRST_LOOK", look)
    monkeypatch.setattr(search_steps, "WALKED", 2 * look)
    monkeypatch.setattr(search_crossings, "WORTH", look)
    monkeypatch.setattr(search_stretches, "SORTED", few)
    monkeypatch.setattr(search_stretches, "_FEW", 2 * look)
    for query in searching.QUERIES:
        wanted = parse(query)
        newest_first = expected(filled, wanted)
        assert [job.id for job in await walk(finder, 40, filter=wanted)] == newest_first, query
        oldest_first = await walk(finder, 40, filter=wanted, sort=JobSort.OLDEST)
        assert [job.id for job in oldest_first] == newest_first[::-1], query


_BY: dict[str, Callable[[JobView], Any]] = {
    "started": lambda job: job.started_at,
    "finished": lambda job: job.finished_at,
    "run_at": lambda job: job.run_at,
    "priority": lambda job: job.priority,
}


@pytest.mark.parametrize("sort", [sort for sort in JobSort if sort.removeprefix("-") in _BY])
async def test_a_list_can_be_sorted_by_a_value(filled: list[Known], finder: Search, sort: JobSort) -> None:
    key = _BY[sort.removeprefix("-")]
    for query in ("", "status:failed,completed", "fox", "payload.user:42 -tag:x"):
        found = await walk(finder, 7, filter=parse(query), sort=sort)
        assert sorted(job.id for job in found) == sorted(expected(filled, parse(query)))
        with_key = [key(job) for job in found if key(job) is not None]
        assert with_key == sorted(with_key, reverse=sort.startswith("-"))
        assert all(key(job) is None for job in found[len(with_key) :]), "what has no such value comes last"


@pytest.mark.parametrize("sort", [JobSort.LATEST_FINISHED, JobSort.EARLIEST_FINISHED])
@pytest.mark.parametrize("look", [1, 500], ids="first look at {}".format)
async def test_however_many_match_they_are_listed_as_they_ended(
    filled: list[Known], finder: Search, sort: JobSort, look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along the index of ends, in the same order in which few of them are sorted."""
    ends = sorted(one.job.finished_at for one in filled if one.job.finished_at is not None)
    span = f"finished:{ends[20].isoformat()}..{ends[-20].isoformat()}"
    for query in (*searching.QUERIES, span, f"{span} -tag:x"):
        wanted = parse(query)
        with monkeypatch.context() as few:
            few.setattr(search_steps, "FIRST_LOOK", 1)
            few.setattr(search_ends, "RARE", 0)
            sorted_at_once = await walk(finder, 200, filter=wanted, sort=sort)
        with monkeypatch.context() as many:
            many.setattr(search_steps, "SORTED", 0)
            many.setattr(search_steps, "FIRST_LOOK", look)
            walked = await walk(finder, 40, filter=wanted, sort=sort)
        assert sorted(job.id for job in walked) == sorted(expected(filled, wanted)), query
        assert [job.id for job in walked] == [job.id for job in sorted_at_once], query


async def test_what_is_too_much_to_sort_is_refused(
    filled: list[Known], finder: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_steps, "SORTED", 10)
    with pytest.raises(Refused) as caught:
        await finder.page(ListJobs(sort=JobSort.HIGHEST_PRIORITY))
    assert caught.value.code == "sort_too_broad"


async def test_times_are_found_wherever_they_begin_and_end(filled: list[Known], finder: Search) -> None:
    instants = [one.job.created_at for one in filled[::40]] + [one.job.finished_at for one in filled[::15]]
    for instant in filter(None, instants):
        for wanted in (
            JobFilter(created=Span(since=instant)),
            JobFilter(created=Span(until=instant)),
            JobFilter(finished=Span(since=instant - timedelta(seconds=1), until=instant)),
            JobFilter(started=Span(until=instant)),
        ):
            assert [job.id for job in await walk(finder, 50, filter=wanted)] == expected(filled, wanted)


async def test_ids_are_found_by_their_beginning(filled: list[Known], finder: Search) -> None:
    whole = filled[20].job.id
    for query in (f"id:{whole}", f"id:{whole[:30]}", f"id:{whole[:13]}", whole, whole[:12], f"id:{whole[:4]}"):
        wanted = parse(query)
        found = [job.id for job in await walk(finder, 50, filter=wanted)]
        assert found == expected(filled, wanted)
        assert whole in found


async def test_typed_parameters_compose_with_the_query(filled: list[Known], finder: Search) -> None:
    found = await walk(finder, 50, status=["FAILED", "COMPLETED"], kind=["mail"], filter=parse("kind:mail* -tag:x"))
    assert [job.id for job in found] == expected(filled, parse("status:failed,completed kind:mail -tag:x"))
    with pytest.raises(Refused) as caught:
        await finder.page(ListJobs(status=[JobStatus.FAILED], filter=parse("status:pending")))
    assert caught.value.code == "invalid_query"


@pytest.mark.parametrize("query", searching.QUERIES)
async def test_counts_are_exact_where_they_are_not_too_large(filled: list[Known], finder: Search, query: str) -> None:
    count = await finder.count(CountJobs(filter=parse(query)))
    assert (count.count, count.relation) == (len(expected(filled, parse(query))), CountRelation.EXACT)


async def test_a_large_count_is_an_estimate_that_says_so(
    filled: list[Known], finder: Search, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute("ANALYZE jobs.job, jobs.job_search")
    monkeypatch.setattr(search, "COUNTED", 10)
    for query in ("-tag:none", "customer", "kind:mail*"):
        count = await finder.count(CountJobs(filter=parse(query)))
        assert (count.relation, count.at_least) == (CountRelation.ESTIMATE, 10)
        assert 10 < count.count <= 1.1 * len(filled), "it is the order of magnitude"
    assert (await finder.count(CountJobs())).count == len(filled), "counters know more"


async def test_a_cursor_that_tells_an_impossible_end_is_refused(filled: list[Known], finder: Search) -> None:
    sort = JobSort.LATEST_FINISHED
    forged = cursor_of(Place(filled[0].job.id, 2**61), digest_of(JobFilter(), sort))
    with pytest.raises(Refused, match="invalid_cursor"):
        await finder.page(ListJobs(sort=sort, cursor=forged))


async def test_a_cursor_of_another_search_is_refused(filled: list[Known], finder: Search) -> None:
    page = await finder.page(ListJobs(limit=1, filter=parse("tag:x")))
    for asked in (
        {"filter": parse("tag:holiday")},
        {"filter": parse("tag:x"), "sort": JobSort.OLDEST},
        {"filter": JobFilter()},
    ):
        with pytest.raises(Refused) as caught:
            await finder.page(ListJobs.model_validate({"cursor": page.next_cursor, "limit": 1, **asked}))
        assert caught.value.code == "invalid_cursor"
    plain = await finder.page(ListJobs(limit=1))
    with pytest.raises(Refused, match="of another search"):
        await finder.page(ListJobs(limit=1, cursor=plain.next_cursor, status=[JobStatus.FAILED]))
    assert len(await walk(finder, 50, status=["FAILED"])) > 2, "and of the same list it leads on"
    for cursor in (plain.next_cursor, "", "x", "%%%", "WzEsMl0", "W10"):
        with pytest.raises(Refused, match="invalid_cursor"):
            await finder.page(ListJobs(cursor=cursor or "=", limit=1, filter=parse("tag:x")))


async def test_what_is_refused_because_no_job_can_match_matches_none(filled: list[Known]) -> None:
    """Whatever the jobs went through: nothing is refused that could be found."""
    first, last = filled[-1].job.created_at, clock.now()
    never = [
        JobFilter(status=(JobStatus.PENDING, JobStatus.RUNNING), finished=Span(since=first)),
        JobFilter(status=(JobStatus.COMPLETED,), error=parse("error:error*").error),
        JobFilter(status=(JobStatus.COMPLETED,), fingerprint=tuple({f for one in filled if (f := _print(one))})),
        JobFilter(priority=Bounds(least=1001)),
        JobFilter(attempt=Bounds(most=-1)),
        *(
            JobFilter.model_validate({then: {"until": one.job.created_at}, before: {"since": one.job.created_at}})
            for one in filled[::10]
            for before, then in (("created", "started"), ("created", "finished"), ("started", "finished"))
        ),
    ]
    for wanted in never:
        assert contradiction(wanted) is not None, wanted
        assert [one.job.id for one in filled if matches(wanted, one, last)] == [], wanted


def _print(one: Known) -> str | None:
    return one.job.error.fingerprint if one.job.error else None


@pytest.mark.parametrize("path", ["password", "user.PassWord", "nested.access_token.v", "X-Api-Key"])
async def test_a_redacted_field_is_no_oracle(finder: Search, path: str) -> None:
    with pytest.raises(Refused) as caught:
        await finder.page(ListJobs(filter=parse(f"payload.{path}:hunter2")))
    assert caught.value.code == "field_redacted"
    with pytest.raises(Refused, match="field_redacted"):
        await finder.count(CountJobs(filter=parse(f"payload.{path}:hunter2")))


async def test_a_search_that_takes_too_long_is_given_up_with_advice(
    filled: list[Known], pool: AsyncConnectionPool, database: Database
) -> None:
    hasty = Search(pool, ReadModel(pool), REDACTION, timeout_ms=100)
    with psycopg.connect(database.admin_url) as other:
        other.execute("LOCK TABLE jobs.job_search IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable) as caught:
            await hasty.page(ListJobs(filter=parse("fox")))
    assert caught.value.code == "search_too_slow"
    assert "newer:1d" in caught.value.detail
    assert (await hasty.page(ListJobs(filter=parse("tag:x")))).items, "its connection is as good as before"


async def test_the_index_says_how_far_it_is(filled: list[Known], pool: AsyncConnectionPool, ledger: Ledger) -> None:
    finder, index = Search(pool, ReadModel(pool), REDACTION, timeout_ms=8000), SearchIndex(pool, REDACTION)
    job = await wishing.create(ledger, payload={"said": "wombat"})
    behind = await finder.page(ListJobs(filter=parse("wombat")))
    assert (behind.items, behind.behind) == ([], 1)
    await index.reach((await index.figures())[0])
    caught_up = await finder.page(ListJobs(filter=parse("wombat")))
    assert ([one.id for one in caught_up.items], caught_up.behind) == ([job.id], 0)
    assert (await finder.page(ListJobs(filter=parse("priority:7")))).behind is None, "the index was not asked"
    await wishing.settle(ledger, wishing.command(CancelJob(job_id=job.id)))
    await index.run_once()


async def test_the_index_lets_a_bulk_operation_go_first(pool: AsyncConnectionPool, ledger: Ledger) -> None:
    looks = iter([True, True])
    index = SearchIndex(pool, REDACTION, busy=lambda: next(looks, False))
    job = await wishing.create(ledger, payload={"said": "numbat"})
    await index.run_once()
    assert next(looks, None) is None, "it looked until there was nothing more to wait for"
    assert len(set(await index.figures())) == 1
    await wishing.settle(ledger, wishing.command(CancelJob(job_id=job.id)))
    await index.run_once()


async def test_who_knows_a_position_finds_what_was_written_there(pool: AsyncConnectionPool, ledger: Ledger) -> None:
    finder = Search(pool, ReadModel(pool), REDACTION, timeout_ms=8000)
    job = await wishing.create(ledger, payload={"said": "quokka"})
    head, _ = await SearchIndex(pool, REDACTION).figures()
    page = await finder.page(ListJobs(filter=parse("quokka"), indexed_to=head))
    assert [one.id for one in page.items] == [job.id]
    assert (await finder.count(CountJobs(filter=parse("quokka"), indexed_to=head))).count == 1
    with pytest.raises(Refused) as caught:
        await finder.page(ListJobs(filter=parse("quokka"), indexed_to=head + 1))
    assert (caught.value.code, caught.value.facts) == ("position_not_reached", {"position": head})


async def test_who_waits_for_the_index_in_vain_is_told(pool: AsyncConnectionPool, ledger: Ledger) -> None:
    hasty = Search(pool, ReadModel(pool), REDACTION, timeout_ms=100)
    await wishing.create(ledger)
    head, _ = await SearchIndex(pool, REDACTION).figures()
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("SELECT FROM search_progress FOR UPDATE")
        with pytest.raises(Unavailable) as caught:
            await hasty.page(ListJobs(filter=parse("fox"), indexed_to=head))
        assert caught.value.code == "index_behind"
        assert (await hasty.page(ListJobs(indexed_to=head))).items, "the index is not asked for a plain list"
    await SearchIndex(pool, REDACTION).run_once()


async def _entries(pool: AsyncConnectionPool) -> list[tuple[object, ...]]:
    async with pool.connection() as conn:
        found = await conn.execute("SELECT job_id, terms::text, actors, failed FROM job_search ORDER BY job_id")
        return await found.fetchall()


async def test_an_index_that_is_made_anew_is_the_same(
    filled: list[Known], pool: AsyncConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In other bites, with an end in the middle, and after other keys were secret for a while."""
    before = await _entries(pool)
    monkeypatch.setattr(search_index, "_EVENTS", 37)
    open_index = SearchIndex(pool, Redaction.of(["nothing"]))
    await open_index.run_once()
    assert any("zebra" in str(entry[1]) for entry in await _entries(pool))
    monkeypatch.setattr(search_index, "_JOBS", 5)
    index = SearchIndex(pool, REDACTION)

    with monkeypatch.context() as broken:
        await index._step()
        broken.setattr(search_index, "_MOVE", "no statement")
        with pytest.raises(psycopg.Error):
            await index._step()
    assert (await index.figures())[1] == 37, "what was not finished is not there"
    await index.run_once()
    assert await _entries(pool) == before


async def test_what_is_erased_is_not_found_any_more(
    filled: list[Known], pool: AsyncConnectionPool, ledger: Ledger
) -> None:
    finder, index = Search(pool, ReadModel(pool), REDACTION, timeout_ms=8000), SearchIndex(pool, REDACTION)
    job = await wishing.create(ledger, payload={"said": "okapi"}, tags=["zoo"])
    await index.run_once()
    assert [one.id for one in (await finder.page(ListJobs(filter=parse("okapi")))).items] == [job.id]
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("DELETE FROM body WHERE job_id = %s", (job.id,))
        await index.erased(conn, [job.id])
    assert not (await finder.page(ListJobs(filter=parse("okapi")))).items
    assert [one.id for one in (await finder.page(ListJobs(filter=parse("zoo")))).items] == [job.id]


async def test_two_replicas_take_turns(pool: AsyncConnectionPool) -> None:
    index = SearchIndex(pool, REDACTION)
    async with pool.connection() as conn, conn.transaction():
        await conn.execute("SELECT FROM search_progress FOR UPDATE")
        assert await index.run_once() == 0


async def test_what_many_jobs_went_through_at_once_is_indexed(pool: AsyncConnectionPool, ledger: Ledger) -> None:
    finder, index = Search(pool, ReadModel(pool), REDACTION, timeout_ms=2500), SearchIndex(pool, REDACTION)
    jobs = [await wishing.failed(ledger, tags=["herd"]) for _ in range(3)]
    ids = sorted(job.id for job in jobs)

    async def found(query: str) -> list[str]:
        await index.run_once()
        return sorted(job.id for job in (await finder.page(ListJobs(filter=parse(query)))).items)

    assert await found("error:valueerror tag:herd") == ids
    who = searching.PEOPLE[2]
    bulk = Bulk(pool)
    operation = PlanOperation(operation_id=new_id(), action=BulkAction.RETRY, ids=ids, then_run=True)
    assert (await bulk.ask(operation, actor=who, reason="a test")).status == "done"
    await bulk.finish(operation.operation_id)
    assert await found("error:valueerror tag:herd") == []
    assert await found(f"actor:{who.id} tag:herd status:pending") == ids
