"""Pages of whole job histories: by stream, or only those that something happened to since a position."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from jobplane.cli.verify.sources import FIRST_ID, PAGE, Sources, pages
from jobplane.cli.verify.verdict import Tally

_LAST: Final[LiteralString] = """
SELECT greatest(
    (SELECT stream_id FROM event ORDER BY stream_id DESC LIMIT 1), (SELECT id FROM job ORDER BY id DESC LIMIT 1)
)
"""
_PAGE_END: Final[LiteralString] = """
SELECT stream_id FROM event WHERE stream_id > %(low)s AND stream_id <= %(high)s
ORDER BY stream_id OFFSET %(size)s LIMIT 1
"""
_COUNT: Final[LiteralString] = "SELECT count(*) FROM event WHERE stream_id > %(low)s AND stream_id <= %(high)s"
_SINCE: Final[LiteralString] = """
SELECT array_agg(DISTINCT coalesce((item ->> 'job')::uuid, stream_id))::text[]
FROM event LEFT JOIN LATERAL json_array_elements(
    CASE WHEN type = 'operation.jobs_changed.v1' THEN data -> 'items' END
) AS item ON true
WHERE pos > %s AND pos <= %s AND (type LIKE 'job.%%' OR type = 'operation.jobs_changed.v1')
"""
# A chunk of a bulk operation tells of many jobs; which chunks tell of a job, its row knows. Where that is wrong, the
# history has a gap, which is a violation.
EVENTS: Final[LiteralString] = """event_of_job AS MATERIALIZED (
    SELECT stream_id, version, pos, type, data FROM event WHERE {streams} AND type LIKE 'job.%%'
    UNION ALL
    SELECT job.id, (item ->> 'version')::int, event.pos, event.data ->> 'type',
        ((event.data -> 'shared')::jsonb || item::jsonb)::json
    FROM (SELECT DISTINCT unnest(bulk_positions) AS pos FROM job WHERE {jobs}) AS chunk
        JOIN event ON event.pos = chunk.pos AND event.type = 'operation.jobs_changed.v1'
        CROSS JOIN LATERAL json_array_elements(event.data -> 'items') AS item
        JOIN job ON job.id = (item ->> 'job')::uuid AND event.pos = ANY(job.bulk_positions)
    WHERE {ids}
)"""
"""The events of the jobs of a page, wherever they are told; for `with_scope`."""

Scope = Mapping[str, Any]
"""`low` and `high` bound the stream ids; or `ids` names them, and the bounds mean nothing."""


async def scopes(sources: Sources, tally: Tally) -> AsyncIterator[tuple[AsyncConnection[Any], Scope]]:
    """Every job's stream once, some thousand events at a time, each page in a snapshot of its own.

    A stream that grew since the start is judged as it is in its snapshot, with its row of the same snapshot.
    """
    if sources.start is not None:
        async for page in _touched(sources, tally):
            yield page
        return
    low, high = sources.span("jobs")
    tally.expect(high - low)
    async with sources.snapshot("jobs") as conn:
        row = await (await conn.execute(_LAST)).fetchone()
    at, last = FIRST_ID, None if row is None or row[0] is None else str(row[0])
    while last is not None and at < last:
        async with sources.snapshot("jobs") as conn:
            found = await (await conn.execute(_PAGE_END, {"low": at, "high": last, "size": PAGE - 1})).fetchone()
            end = last if found is None else str(found[0])
            scope = {"low": at, "high": end}
            count = await (await conn.execute(_COUNT, scope)).fetchone()
            yield conn, scope
        tally.advance(count[0] if count else 0)
        at = end


async def _touched(sources: Sources, tally: Tally) -> AsyncIterator[tuple[AsyncConnection[Any], Scope]]:
    low, high = sources.span("jobs")
    tally.expect(high - low)
    for start, end in pages(low, high):
        async with sources.snapshot("jobs") as conn:
            row = await (await conn.execute(_SINCE, (start, end))).fetchone()
            if row is not None and row[0]:
                yield conn, {"ids": row[0]}
        tally.advance(end - start)


def with_scope(query: LiteralString, scope: Scope) -> LiteralString:
    """The query about the jobs of a page."""
    whole = query.replace("{streams}", of_scope(scope, "stream_id")).replace("{jobs}", of_scope(scope, "id"))
    return whole.replace("{ids}", of_scope(scope, "job.id"))


def of_scope(scope: Scope, column: LiteralString) -> LiteralString:
    """The condition that a stream id or job id belongs to the page."""
    if "ids" in scope:
        return column + " = ANY(%(ids)s::uuid[])"
    return column + " > %(low)s AND " + column + " <= %(high)s"
