"""I3: every stored outcome of a command points to its event, and every event of a command has its outcome."""

from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from jobplane.cli.verify.sources import FIRST_ID, PAGE, Sources, pages
from jobplane.cli.verify.verdict import Tally

_ESTIMATE: Final[LiteralString] = "SELECT count(*) FROM command_outcome"
_LAST: Final[LiteralString] = "SELECT command_id FROM command_outcome ORDER BY command_id DESC LIMIT 1"
_PAGE_END: Final[LiteralString] = """
SELECT command_id FROM command_outcome WHERE command_id > %(low)s AND command_id <= %(high)s
ORDER BY command_id OFFSET %(size)s LIMIT 1
"""
_COUNT: Final[LiteralString] = """
SELECT count(*) FROM command_outcome WHERE command_id > %(low)s AND command_id <= %(high)s
"""
_OUTCOMES: Final[LiteralString] = """
SELECT command_id, fault, position FROM (
    SELECT o.command_id, o.position, CASE
        WHEN o.status IS NULL THEN 'the command was claimed, but has no outcome'
        WHEN o.status = 'refused' AND o.position IS NOT NULL THEN 'the command was refused, but names an event'
        WHEN o.status = 'done' AND o.position IS NULL AND o.code IS NULL THEN 'the command is done, but names no event'
        WHEN o.position IS NULL THEN NULL
        WHEN e.pos IS NULL THEN 'the outcome points to an event that does not exist'
        WHEN e.command_id IS DISTINCT FROM o.command_id THEN 'the outcome points to the event of another command'
        WHEN CASE WHEN e.type LIKE 'job.%%' THEN e.stream_id END IS DISTINCT FROM o.job_id
            THEN 'the outcome and its event name different jobs'
    END AS fault
    FROM command_outcome AS o LEFT JOIN event AS e ON e.pos = o.position
    WHERE o.command_id > %(low)s AND o.command_id <= %(high)s
) AS judged WHERE fault IS NOT NULL ORDER BY command_id LIMIT 1000
"""
# Outcomes are pruned after seven days, at once or within ten minutes; what is about to be is not asked for. A refusal
# because of a reused key is the only event of a command whose outcome is another one, and perhaps older.
_EVENTS: Final[LiteralString] = """
SELECT pos, command_id, fault FROM (
    SELECT e.pos, e.command_id, CASE
        WHEN o.command_id IS NULL THEN 'the event names a command that has no outcome'
        WHEN e.type LIKE 'job.%%' AND o.status IS DISTINCT FROM 'done' THEN 'the event is of a command that is not done'
        WHEN e.type LIKE 'job.%%' AND o.position IS NULL THEN 'the event is of a command whose outcome names no event'
        WHEN e.type LIKE 'job.%%' AND o.position < e.pos THEN 'the outcome of its command names an earlier event'
    END AS fault
    FROM event AS e LEFT JOIN command_outcome AS o ON o.command_id = e.command_id
    WHERE e.pos > %(low)s AND e.pos <= %(high)s AND e.command_id IS NOT NULL
        AND e.at > clock_timestamp() - interval '7 days' + interval '5 minutes'
        AND (e.type LIKE 'job.%%' OR e.data ->> 'code' IS DISTINCT FROM 'idempotency_key_reused')
) AS judged WHERE fault IS NOT NULL ORDER BY pos LIMIT 1000
"""

_ADVICE: Final = (
    "The caller may have been told something that did not happen: compare the job's history with what the caller got, "
    "and report it as a bug with both."
)


async def check(sources: Sources, tally: Tally) -> None:
    """Look at the outcomes, then at the events, of the jobs service: it alone keeps outcomes."""
    low, high = sources.span("jobs")
    async with sources.snapshot("jobs") as conn:
        outcomes = await _one(conn, _ESTIMATE)
        last = await _one(conn, _LAST)
    tally.expect(high - low + (outcomes or 0))
    at = FIRST_ID
    while last is not None and at < last:
        at = await _outcomes(sources, tally, at, str(last))
    for start, end in pages(low, high):
        async with sources.snapshot("jobs") as conn:
            found = await (await conn.execute(_EVENTS, {"low": start, "high": end})).fetchall()
        for position, command_id, fault in found:
            tally.violation(fault, f"jobs position {position}, command {command_id}", _ADVICE)
        tally.advance(end - start)


async def _outcomes(sources: Sources, tally: Tally, low: str, last: str) -> str:
    """Judge one page; gives where it ends."""
    async with sources.snapshot("jobs") as conn:
        end = await _one(conn, _PAGE_END, {"low": low, "high": last, "size": PAGE - 1}) or last
        span = {"low": low, "high": end}
        count = await _one(conn, _COUNT, span)
        found = await (await conn.execute(_OUTCOMES, span)).fetchall()
    for command_id, fault, position in found:
        where = f"command {command_id}" + (f", jobs position {position}" if position is not None else "")
        tally.violation(fault, where, _ADVICE)
    tally.advance(count or 0)
    return str(end)


async def _one(conn: AsyncConnection[Any], query: LiteralString, values: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 - whatever the column holds
    row = await (await conn.execute(query, values)).fetchone()
    return None if row is None else row[0]
