"""I8: what events refer to is there and unchanged, and every body has its event."""

from typing import Final, LiteralString

from jobplane.cli.verify.sources import FIRST_ID, PAGE, Sources, pages
from jobplane.cli.verify.verdict import Tally

_REFERENCES: Final[LiteralString] = """
SELECT e.pos, e.stream_id, e.ref, CASE
    WHEN b.ref IS NULL THEN 'the body that the event refers to is missing'
    WHEN b.job_id <> e.stream_id THEN 'the body that the event refers to belongs to another job'
    ELSE 'the body is not the one that the event was written with'
END FROM (
    SELECT pos, stream_id, (fact ->> 'ref')::uuid AS ref, fact ->> 'digest' AS digest FROM event, LATERAL (
        SELECT coalesce(data -> 'payload', data -> 'result', data -> 'error' -> 'body') AS fact
    ) AS body_of
    WHERE pos > %(low)s AND pos <= %(high)s
        AND type IN ('job.created.v1', 'job.edited.v1', 'job.completed.v1', 'job.failed.v1', 'job.orphaned.v1')
) AS e LEFT JOIN body AS b ON b.ref = e.ref
WHERE e.ref IS NOT NULL AND (
    b.ref IS NULL OR b.job_id <> e.stream_id OR encode(sha256(b.salt || b.data), 'hex') <> e.digest
)
ORDER BY e.pos LIMIT 1000
"""
_LAST: Final[LiteralString] = "SELECT ref FROM body ORDER BY ref DESC LIMIT 1"
_COUNT_ALL: Final[LiteralString] = "SELECT count(*) FROM body"
_PAGE_END: Final[LiteralString] = """
SELECT ref FROM body WHERE ref > %(low)s AND ref <= %(high)s ORDER BY ref OFFSET %(size)s LIMIT 1
"""
_COUNT: Final[LiteralString] = "SELECT count(*) FROM body WHERE ref > %(low)s AND ref <= %(high)s"
# The reference of a body is the id of its event.
_UNREFERENCED: Final[LiteralString] = """
SELECT b.ref, b.job_id FROM body AS b WHERE b.ref > %(low)s AND b.ref <= %(high)s AND NOT EXISTS (
    SELECT 1 FROM event AS e WHERE e.stream_id = b.job_id AND e.id = b.ref
        AND strpos(e.data::text, b.ref::text) > 0
) ORDER BY b.ref LIMIT 1000
"""

_MISSING: Final = "If it was not erased on purpose, restore the body from a backup (table jobs.body)."
_CHANGED: Final = "Somebody changed the table jobs.body: restore the body from a backup."
_UNUSED: Final = "Nobody can see it any more: delete the row from jobs.body once you know where it comes from."


async def check(sources: Sources, tally: Tally) -> None:
    """Look at the references of all events, then at all bodies."""
    low, high = sources.span("jobs")
    tally.expect(high - low)
    for start, end in pages(low, high):
        async with sources.snapshot("jobs") as conn:
            found = await (await conn.execute(_REFERENCES, {"low": start, "high": end})).fetchall()
        for position, job_id, ref, what in found:
            advice = _MISSING if "missing" in what else _CHANGED
            tally.violation(what, f"jobs position {position}, job {job_id}, body {ref}", advice)
        tally.advance(end - start)
    if sources.start is None:
        await _bodies(sources, tally)
    else:
        tally.note("bodies that no event refers to are looked for only without --from")


async def _bodies(sources: Sources, tally: Tally) -> None:
    async with sources.snapshot("jobs") as conn:
        count = await (await conn.execute(_COUNT_ALL)).fetchone()
        row = await (await conn.execute(_LAST)).fetchone()
    tally.expect(count[0] if count else 0)
    at, last = FIRST_ID, str(row[0]) if row else FIRST_ID
    while at < last:
        async with sources.snapshot("jobs") as conn:
            found = await (await conn.execute(_PAGE_END, {"low": at, "high": last, "size": PAGE - 1})).fetchone()
            span = {"low": at, "high": last if found is None else str(found[0])}
            count = await (await conn.execute(_COUNT, span)).fetchone()
            unused = await (await conn.execute(_UNREFERENCED, span)).fetchall()
        for ref, job_id in unused:
            tally.violation("no event refers to this body", f"body {ref}, job {job_id}", _UNUSED)
        tally.advance(count[0] if count else 0)
        at = span["high"]
