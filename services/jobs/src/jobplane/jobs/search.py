"""The search: pages and counts of the jobs that a filter means, each within a time limit."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from psycopg import AsyncConnection, errors
from psycopg_pool import AsyncConnectionPool
from pydantic import ValidationError

from jobplane.contracts import cursors
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.ids import Position
from jobplane.contracts.job_filter import JobFilter, conjoined
from jobplane.contracts.jobs import CountRelation, JobCount, JobPage
from jobplane.contracts.queries import CountJobs, JobSort, ListJobs
from jobplane.jobs import search_cursor, search_sql
from jobplane.jobs.id_times import Skew
from jobplane.jobs.read_model import ReadModel
from jobplane.jobs.redaction import Redaction
from jobplane.jobs.search_cursor import Place, cursor_of
from jobplane.jobs.search_ends import by_end
from jobplane.jobs.search_estimates import estimated, rounded
from jobplane.jobs.search_index import SearchIndex
from jobplane.jobs.search_sql import Asked
from jobplane.jobs.search_steps import Known, Step, by_id, by_value

_AT_ONCE: Final = 3
"""Searches of one replica: whatever is asked, most connections are left to commands and workers."""
COUNTED: Final = 10_000
"""More are not counted one by one."""
_TOO_SLOW: Final = (
    "This search would have to look at too many jobs: name a status, queue or kind, a time (newer:1d), or a rarer word."
)
_RETRY_AFTER_S: Final = 5
_FIGURES: Final = """
SELECT pos, position, earliest_ms, latest_ms, now(),
    (SELECT id::text FROM job ORDER BY job.id LIMIT 1), (SELECT id::text FROM job ORDER BY job.id DESC LIMIT 1)
FROM journal_head, search_progress
"""
_LIMITS: Final = """
SELECT set_config('statement_timeout', %s, true), set_config('enable_seqscan', %s, true), set_config('jit', 'off', true)
"""
_COUNTERS: Final = """
SELECT coalesce(sum(n), 0)::bigint FROM job_count
WHERE (status = ANY(%s::text[]) OR %s) AND (queue = ANY(%s::text[]) OR %s)
"""


class _Searching:
    """One search: a transaction with a time limit for all of its statements together."""

    def __init__(self, conn: AsyncConnection[Any], until: float) -> None:
        self._conn = conn
        self._until = until
        self.head = self.indexed_to = 0
        self.known: Known

    async def begin(self) -> None:
        """Look how far the index is."""
        [(self.head, self.indexed_to, earliest, latest, now, oldest, newest)] = await self.rows(_FIGURES)
        self.known = Known(oldest, newest, Skew(earliest, latest), now)

    async def rows(self, text: str, parameters: Sequence[object] = (), *, along_indexes: bool = False) -> list[Any]:
        """Run one statement within what is left of the time."""
        left = int((self._until - time.monotonic()) * 1000)
        if left <= 0:
            raise errors.QueryCanceled
        await self._conn.execute(_LIMITS, (f"{left}ms", "off" if along_indexes else "on"))
        # Planned for its parameters each time: how many match decides how to look.
        return await (await self._conn.execute(text, parameters, prepare=False)).fetchall()

    def progress(self, asked: Asked) -> dict[str, Any]:
        """How far the index was, if it was asked."""
        if asked.narrowed is None:
            return {}
        return {"indexed_to": Position(self.indexed_to), "behind": self.head - self.indexed_to}


class Search:
    """Finds jobs by any filter; plain lists by status, queue and kind are the read model's."""

    def __init__(self, pool: AsyncConnectionPool, read_model: ReadModel, redaction: Redaction, timeout_ms: int) -> None:
        self._pool = pool
        self._read_model = read_model
        self._redaction = redaction
        self._index = SearchIndex(pool, redaction)
        self._timeout_s = timeout_ms / 1000
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def page(self, query: ListJobs) -> JobPage:
        """One page of jobs, without payload, result and error.stack.

        Raises:
            Refused: `invalid_cursor`, `invalid_query`, `field_redacted`, `sort_too_broad`, `position_not_reached`.
            Unavailable: `search_too_slow`, `index_behind`.
        """
        wanted = _whole_filter(query)
        digest = search_cursor.digest_of(wanted, query.sort)
        after = search_cursor.place_in(query.cursor, digest) if query.cursor is not None else None
        if query.sort is JobSort.NEWEST and _is_plain(wanted):
            page = await self._read_model.page(_plain(wanted, after, query.limit))
            if page.next_cursor is None:
                return page
            return page.model_copy(update={"next_cursor": cursor_of(Place(page.items[-1].id, 0), digest)})
        asked = search_sql.asked(wanted, self._redaction)
        await self._reach(query.indexed_to, asked)
        async with self._searching() as searching:
            step = Step(asked, wanted, query.sort, after, query.limit + 1)
            if query.sort in {JobSort.NEWEST, JobSort.OLDEST}:
                places = await by_id(step, searching.rows, searching.known)
            elif query.sort in {JobSort.LATEST_FINISHED, JobSort.EARLIEST_FINISHED}:
                places = await by_end(step, searching.rows, searching.known)
            else:
                places = await by_value(step, searching.rows)
        items = await self._read_model.listed([place.id for place in places[: query.limit]])
        shown = _until(items[-1].id, places) if items else places[: query.limit]
        return JobPage(
            items=items,
            next_cursor=cursor_of(shown[-1], digest) if len(places) > len(shown) else None,
            **searching.progress(asked),
        )

    async def count(self, query: CountJobs) -> JobCount:
        """How many jobs match: exact up to 10,000 and always by status and queue alone, otherwise an estimate.

        Raises:
            Refused: `field_redacted`, `position_not_reached`.
            Unavailable: `search_too_slow`, `index_behind`.
        """
        wanted = query.filter
        asked = search_sql.asked(wanted, self._redaction)
        await self._reach(query.indexed_to, asked)
        async with self._searching() as searching:
            if wanted == JobFilter(status=wanted.status, queue=wanted.queue):
                status, queue = [str(status) for status in wanted.status], list(wanted.queue)
                [(count,)] = await searching.rows(_COUNTERS, (status, not status, queue, not queue))
                return JobCount(count=count, relation=CountRelation.EXACT)
            found = search_sql.matching(wanted, self._redaction)
            bounded = f"SELECT count(*) FROM ({found.text} LIMIT {COUNTED + 1}) AS found"  # noqa: S608 - constants
            [(count,)] = await searching.rows(bounded, found.parameters)
            progress = searching.progress(asked)
            if count <= COUNTED:
                return JobCount(count=count, relation=CountRelation.EXACT, **progress)
            about = rounded(await estimated(searching.rows, found.text, found.parameters))
            return JobCount(
                count=max(about, COUNTED + 1), relation=CountRelation.ESTIMATE, at_least=COUNTED, **progress
            )

    async def _reach(self, position: int | None, asked: Asked) -> None:
        """Wait until the index knows this position, if it is asked at all.

        Raises:
            Refused: `position_not_reached`.
            Unavailable: `index_behind`.
        """
        if position is None or asked.narrowed is None:
            return
        head, indexed_to = await self._index.figures()
        if position > head:
            detail = f"The journal ends at position {head}: give the position that an answer told."
            raise Refused("position_not_reached", detail, {"position": head})
        if indexed_to >= position:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._index.reach(position)
        except TimeoutError as error:
            detail = f"The index of the search is {position - indexed_to} events behind: try again, or leave it out."
            raise Unavailable(detail, code="index_behind", retry_after_s=_RETRY_AFTER_S) from error

    @asynccontextmanager
    async def _searching(self) -> AsyncIterator[_Searching]:
        """A turn, a transaction and what is left of the time.

        Raises:
            Unavailable: `search_too_slow`.
        """
        until = time.monotonic() + self._timeout_s
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turns.acquire()
            try:
                async with self._pool.connection() as conn, conn.transaction():
                    searching = _Searching(conn, until)
                    await searching.begin()
                    yield searching
            finally:
                self._turns.release()
        except (errors.QueryCanceled, TimeoutError) as error:
            raise Unavailable(_TOO_SLOW, code="search_too_slow", retry_after_s=_RETRY_AFTER_S) from error


def _whole_filter(query: ListJobs) -> JobFilter:
    """All that a list asks for, as one filter.

    Raises:
        Refused: `invalid_query`: no job can match.
    """
    try:
        beside = JobFilter(status=tuple(query.status), queue=tuple(query.queue), kind=tuple(query.kind))
        return conjoined(query.filter, beside)
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0] if first["loc"] else "filter"
        raise Refused("invalid_query", f"No job can match: {name}: {first['msg']}.") from error
    except ValueError as error:
        raise Refused("invalid_query", f"No job can match: {error}.") from error


def _is_plain(wanted: JobFilter) -> bool:
    """Whether lists without a search serve it; of queue and kind together a search knows which are fewer."""
    plain = JobFilter(status=wanted.status, queue=wanted.queue, kind=wanted.kind)
    return (
        wanted == plain and not (wanted.queue and wanted.kind) and not any(kind.endswith("*") for kind in wanted.kind)
    )


def _plain(wanted: JobFilter, after: Place | None, limit: int) -> ListJobs:
    """As the read model is asked."""
    return ListJobs.model_construct(
        limit=limit,
        cursor=None if after is None else cursors.sealed(after.id),
        status=list(wanted.status),
        queue=list(wanted.queue),
        kind=list(wanted.kind),
    )


def _until(job_id: str, places: Sequence[Place]) -> Sequence[Place]:
    """The places up to that of a job."""
    ids = [place.id for place in places]
    return places[: ids.index(job_id) + 1]
