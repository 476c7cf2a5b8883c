"""I9, second half: every bulk operation stands where its events say, and did each of its jobs once."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, LiteralString

from jobplane.cli.verify.sources import FIRST_ID, Sources
from jobplane.cli.verify.verdict import Tally

_IDS: Final[LiteralString] = """
SELECT id FROM operation WHERE id > %(after)s AND EXISTS (
    SELECT FROM event WHERE stream_id = operation.id AND pos > %(low)s
) ORDER BY id LIMIT 100
"""
# Chunks are told in the stream of their operation; what became of each item stands in the plan, with the position.
_ONE: Final[LiteralString] = """
WITH op AS MATERIALIZED (
    SELECT * FROM operation WHERE id = %(id)s
), told AS MATERIALIZED (
    SELECT version, pos, type, data FROM event WHERE stream_id = %(id)s AND type LIKE 'operation.%%'
), stands AS (
    SELECT (array_agg(CASE type
        WHEN 'operation.requested.v1' THEN 'planning' WHEN 'operation.planned.v1' THEN 'planned'
        WHEN 'operation.paused.v1' THEN CASE  -- while it was planned it only gave up running at once
            WHEN EXISTS (SELECT FROM told AS one WHERE one.type = 'operation.started.v1') THEN 'paused' ELSE 'planning'
        END WHEN 'operation.stopped.v1' THEN 'stopped'
        WHEN 'operation.finished.v1' THEN 'done' WHEN 'operation.failed.v1' THEN 'failed' ELSE 'running'
    END ORDER BY version DESC) FILTER (WHERE type <> 'operation.jobs_changed.v1'))[1] AS status,
        count(*) AS events, max(version) AS version
    FROM told
), item AS MATERIALIZED (
    SELECT item.job_id, item.code, item.version, item.position FROM plan_chunk AS c,
        unnest(c.job_ids, c.codes, c.versions, c.positions) AS item (job_id, code, version, position)
    WHERE c.operation_id = %(id)s
), planned AS (
    SELECT count(*) AS jobs, count(DISTINCT job_id) AS different, count(version) AS done, count(code) AS skipped,
        coalesce(sum(hashtextextended(concat_ws('|', job_id, version, position), 0)) FILTER (WHERE version IS NOT NULL),
            0) AS hash
    FROM item
), changed AS (
    SELECT count(*) AS jobs,
        coalesce(sum(hashtextextended(concat_ws('|', item ->> 'job', item ->> 'version', pos), 0)), 0) AS hash
    FROM told CROSS JOIN LATERAL json_array_elements(data -> 'items') AS item WHERE type = 'operation.jobs_changed.v1'
), codes AS (
    SELECT coalesce(jsonb_object_agg(code, n), '{}') AS counted FROM (
        SELECT code, count(*) AS n FROM item WHERE code IS NOT NULL GROUP BY code
    ) AS by_code
)
SELECT op.status, op.version, op.done, op.total, op.codes = codes.counted, stands.status, stands.events,
    stands.version, planned.jobs, planned.different, planned.done, planned.skipped, changed.jobs,
    planned.hash = changed.hash
FROM op, stands, planned, changed, codes
"""
_ADVICE: Final = (
    "What the operation shows is not what was done: the events are the truth, compare the histories of its jobs with "
    "its items, and report it as a bug with both."
)


async def check(sources: Sources, tally: Tally) -> None:
    """Look at the operations one by one, each in a snapshot of its own."""
    low, _ = sources.span("jobs")
    at = FIRST_ID
    while True:
        async with sources.snapshot("jobs") as conn:
            found = await (await conn.execute(_IDS, {"after": at, "low": low})).fetchall()
        if not found:
            break
        tally.expect(len(found))
        for row in found:
            async with sources.snapshot("jobs") as conn:
                one = await (await conn.execute(_ONE, {"id": row[0]})).fetchone()
            for fault in faults(one) if one is not None else ():
                tally.violation(fault, f"operation {row[0]}", _ADVICE)
            tally.advance(1)
        at = str(found[-1][0])


def faults(row: Sequence[Any]) -> Iterator[str]:
    """What is wrong in a row of `_ONE`."""
    status, version, done, total, codes_fit, *rest = row
    told_status, events, told_version, jobs, different, done_items, skipped, changed, same = rest
    if (status, version) != (told_status, told_version):
        yield f"it is {status} at version {version}, its events say {told_status} at {told_version}"
    if events != told_version:
        yield f"its history has {events} events, but ends with version {told_version}"
    if jobs != (total or 0):
        yield f"it is about {total} jobs, its plan has {jobs}"
    if jobs != different:
        yield f"its plan has {jobs} places for {different} jobs"
    if done != done_items or not codes_fit:
        yield f"it counts {done} jobs done, its plan {done_items} and {skipped} skipped, or the codes differ"
    if changed != done_items or not same:
        yield f"its plan has {done_items} jobs done, its events tell of {changed}, or not of the same"
    if status == "done" and done_items + skipped != jobs:
        yield f"it is done, but {jobs - done_items - skipped} jobs have no outcome"
