"""Chunks: up to 500 jobs of an operation are locked, decided, changed and recorded in one round trip.

What is done and that it is done are written by one transaction, so nothing is ever done twice or lost.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from jobplane.chassis.arrays import plain
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, LockOrder
from jobplane.chassis.new_events import WRITABLE
from jobplane.contracts.ids import JobId
from jobplane.contracts.operations import BulkAction, JobsChanged
from jobplane.contracts.subjects import SHARDS
from jobplane.contracts.workers import Signal
from jobplane.jobs import error_groups
from jobplane.jobs.bulk_actions import ACTIONS, CHANGED_SINCE, NOW, REFUSES, Sets

MOST: Final = 500
SHARD: Final = "(get_byte(uuid_send({id}), 15) & 15)"
"""Of an id, as `subjects.shard_of`."""

# Jobs are looked up by id whatever the planner knows of the table, and the statement is planned once.
_BY_INDEX: Final = """
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)
"""
# Whoever finds it locked leaves it to whoever holds it.
_LOCK_OPERATION: Final = "SELECT id FROM operation WHERE id = %s FOR UPDATE NOWAIT"
_NEXT: Final = """
FROM operation AS op JOIN plan_chunk AS c ON c.operation_id = op.id AND c.number = op.next_chunk
WHERE op.id = %s AND op.status = 'running'
"""
_LOCK_KEYS: Final = f"""
SELECT count(pg_advisory_xact_lock(h)) FROM (
    SELECT DISTINCT hashtextextended(job.kind || chr(31) || job.unique_key, 0) AS h
    FROM (SELECT unnest(c.job_ids) AS id {_NEXT} AND c.keyed) AS item JOIN job ON job.id = item.id
    WHERE job.unique_key IS NOT NULL ORDER BY 1
) AS ordered
"""  # noqa: S608 - constants
# In a statement of its own: the next one then sees what those wrote who held them.
_LOCK_JOBS: Final = f"""
SELECT count(*) FROM (
    SELECT job.id FROM job WHERE job.id = ANY((SELECT c.job_ids {_NEXT})::uuid[]) ORDER BY job.id FOR UPDATE
) AS locked
"""  # noqa: S608 - constants
# Of a job that was made after the others were locked nothing is known to stay as it is: it was not there.
_LOCKED: Final = "job.xmax = pg_current_xact_id()::xid"
# An UPDATE copies every row that it is joined with, large values and all, for each row that it changes: so what all of
# them have in common (`op`, `clock`, texts of events) is asked for by itself, and what they are joined with is narrow.
_CARRY_OUT: Final = """
WITH op AS MATERIALIZED (
    SELECT op.*, c.job_ids, c.expected, c.edits {next}
), clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), decided AS MATERIALIZED (
    SELECT item.n, item.job_id, {shard} AS shard, job.ctid AS place, job.version, job.queue, job.kind,
        job.status AS before, job.run, job.worker, job.token, job.attempt, job.stop, job.forced, job.run_at,
        job.priority, job.max_attempts, job.unique_key, job.error_fingerprint, {edit} AS edit, {changes} AS changes,
        CASE WHEN {changed_since} THEN 'changed_since' ELSE {refuses} END AS code
    FROM op
        CROSS JOIN LATERAL unnest(op.job_ids, op.expected, op.edits) WITH ORDINALITY AS item (job_id, expected, edit, n)
        LEFT JOIN job ON job.id = item.job_id AND {locked}
), {first}settled AS NOT MATERIALIZED (
    SELECT decided.*, {code} AS verdict FROM decided
), moves AS MATERIALIZED (
    SELECT d.queue AS left_queue, d.before, {queue} AS queue, {after} AS after, d.kind, d.error_fingerprint AS error,
        count(*) AS n
    FROM settled AS d WHERE d.verdict IS NULL GROUP BY 1, 2, 3, 4, 5, 6
), alike AS MATERIALIZED (
    SELECT CASE WHEN count(DISTINCT queue) = 1 THEN min(queue) END AS queue,
        CASE WHEN count(DISTINCT kind) = 1 THEN min(kind) END AS kind,
        CASE WHEN count(DISTINCT before) = 1 THEN min(before) END AS before
    FROM moves
), told AS MATERIALIZED (
    SELECT shard, row_number() OVER (ORDER BY shard) AS k, items FROM (
        SELECT d.shard, string_agg({item}, ',' ORDER BY d.n) AS items
        FROM settled AS d WHERE d.verdict IS NULL GROUP BY d.shard
    ) AS by_shard
), head AS (
    UPDATE journal_head SET pos = pos + (SELECT count(*) FROM told) WHERE {writable}
    RETURNING pos - (SELECT count(*) FROM told) AS base, (SELECT array_agg(shard ORDER BY shard) FROM told) AS shards
), appended AS (
    INSERT INTO event (pos, stream_id, version, type, id, actor, reason, correlation_id, causation_id, traceparent, at,
        data)
    SELECT head.base + told.k, op.id, op.version + told.k, '{type}', (%s::uuid[])[told.k],
        coalesce(op.acting, op.actor), op.reason, op.correlation_id, op.command_id, op.traceparent, {now},
        json_build_object('action', op.action, 'type', '{event}', 'shared', {shared},
            'items', ('[' || told.items || ']')::json)
    FROM head, op, told
), changed AS (
    UPDATE job SET {sets}, version = job.version + 1, position = d.position,
        bulk_positions = array_append(job.bulk_positions, d.position), lease_until = NULL, lease_request = NULL,
        unmentioned_at = NULL
    FROM (
        SELECT d.place, d.before, d.run, d.token, d.attempt, d.stop, d.forced, d.run_at, d.queue, d.priority,
            d.max_attempts, d.edit, d.changes, head.base + array_position(head.shards, d.shard) AS position
        FROM head, settled AS d WHERE d.verdict IS NULL OFFSET 0
    ) AS d
    WHERE job.ctid = d.place
), counted AS (
    INSERT INTO job_count AS kept (queue, status, n)
    SELECT queue, status, sum(n) FROM (
        SELECT left_queue AS queue, before AS status, -n AS n FROM moves UNION ALL SELECT queue, after, n FROM moves
    ) AS both_ways, head GROUP BY queue, status HAVING sum(n) <> 0 ORDER BY queue, status
    ON CONFLICT (queue, status) DO UPDATE SET n = kept.n + excluded.n
), {left_groups}noted AS (
    UPDATE plan_chunk SET codes = of_items.codes, versions = of_items.versions, positions = of_items.positions
    FROM (
        SELECT CASE WHEN count(d.verdict) > 0 THEN array_agg(d.verdict ORDER BY d.n) END AS codes,
            array_agg(CASE WHEN d.verdict IS NULL THEN d.version + 1 END ORDER BY d.n) AS versions,
            array_agg(CASE WHEN d.verdict IS NULL THEN head.base + array_position(head.shards, d.shard) END
                ORDER BY d.n) AS positions
        FROM head, settled AS d HAVING count(*) > 0
    ) AS of_items
    WHERE plan_chunk.operation_id = (SELECT id FROM op) AND plan_chunk.number = (SELECT next_chunk FROM op)
), moved AS (
    UPDATE operation SET next_chunk = operation.next_chunk + 1,
        version = operation.version + (SELECT count(*) FROM told),
        done = operation.done + (SELECT coalesce(sum(n), 0) FROM moves),
        codes = (
            SELECT coalesce(jsonb_object_agg(code, n), '{{}}') FROM (
                SELECT code, sum(n) AS n FROM (
                    SELECT key AS code, value::bigint AS n FROM jsonb_each_text(operation.codes)
                    UNION ALL SELECT verdict, 1 FROM settled WHERE verdict IS NOT NULL
                ) AS both_counts GROUP BY code
            ) AS summed
        ),
        next_at = {now} + (SELECT count(*) FROM decided) / operation.rate * interval '1 s'
    FROM head WHERE operation.id = (SELECT id FROM op)
)
SELECT base, (SELECT count(*) FROM told), (SELECT count(*) FROM decided),
    (SELECT coalesce(sum(n), 0)::bigint FROM moves), (SELECT json_agg(DISTINCT queue) FROM moves),
    (SELECT json_agg(json_build_array(worker, job_id, token)) FROM settled
        WHERE verdict IS NULL AND before = 'RUNNING' AND token IS NOT NULL)
FROM head
"""
_LEFT_GROUPS: Final = error_groups.leave("""
    SELECT error AS fingerprint, sum(n) AS n FROM moves WHERE before = 'FAILED' AND error IS NOT NULL GROUP BY error
""")
# Of several jobs that want one key the first gets it.
_FIRST: Final = """first_of_key AS MATERIALIZED (
    SELECT DISTINCT ON (kind, unique_key) n FROM decided WHERE code IS NULL AND unique_key IS NOT NULL
    ORDER BY kind, unique_key, n
), """
_FIRST_OF_KEY: Final = """CASE
    WHEN decided.code IS NULL AND decided.unique_key IS NOT NULL AND decided.n NOT IN (SELECT n FROM first_of_key)
        THEN 'unique_key_taken'
    ELSE decided.code
END"""
_ALIKE: Final = ("queue", "kind", "before")
"""Said once for all jobs of a chunk where all of them are alike in it."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of a chunk."""

    looked_at: int
    """How many jobs it has; 0: there is no further chunk, or the operation does not run."""
    changed: int = 0
    queues: tuple[str, ...] = ()
    """Queues that jobs of it are in now."""
    stopped: tuple[tuple[str, Signal], ...] = ()
    """Workers, and the runs that they are to stop."""


async def carry_out_next(
    journal: Journal, operation_id: str, action: BulkAction, on: AsyncConnection[Any] | None = None
) -> Carried | None:
    """Do the next chunk of an operation, on this connection; None: somebody else is at it just now.

    Raises:
        Unavailable: the journal is halted, and nothing was done.
    """
    sets = ACTIONS[action]
    ids = plain(new_id() for _ in range(SHARDS))
    try:
        async with journal.exchange(on) as tx:
            keys = [(LockOrder.UNIQUE_KEYS, _LOCK_KEYS, (operation_id,))] if sets.takes_key else []
            tx.finish(
                (LockOrder.NOTHING, _BY_INDEX, ()),
                (LockOrder.OPERATION, _LOCK_OPERATION, (operation_id,)),
                *keys,
                (LockOrder.ROWS, _LOCK_JOBS, (operation_id,)),
                (LockOrder.HEAD, _statement(action), (operation_id, *tx.known, ids)),
                tells_count=True,
            )
    except LockNotAvailable:
        return None
    _, _, looked_at, changed, queues, stopped = tx.last[0]
    signals = [(worker, Signal(job=JobId(job), token=token, cause="cancelled")) for worker, job, token in stopped or ()]
    return Carried(looked_at, changed, tuple(queues or ()), tuple(signals))


@cache
def _statement(action: BulkAction) -> str:
    """The statement that carries out the next chunk of an operation with this action."""
    sets = ACTIONS[action]
    return _CARRY_OUT.format(
        next=_NEXT,
        shard=SHARD.format(id="item.job_id"),
        edit="coalesce(item.edit, op.edit)",
        changes=sets.changes,
        changed_since=CHANGED_SINCE,
        refuses=REFUSES[action],
        first=_FIRST if sets.takes_key else "",
        code=_FIRST_OF_KEY if sets.takes_key else "decided.code",
        item=_item(sets),
        now=NOW,
        locked=_LOCKED,
        writable=WRITABLE,
        type=JobsChanged.TYPE,
        event=sets.event,
        shared=_shared(sets),
        sets=", ".join(f"{column} = {value}" for column, value in sets.sets.items()),
        queue=sets.queue,
        after=sets.after,
        left_groups=f"{_LEFT_GROUPS}, " if sets.leaves_group else "",
    )


def _item(sets: Sets) -> str:
    """The text of one item: put together by hand, which takes a third of what the functions for JSON take."""
    told = {"queue": sets.queue, "kind": "d.kind", "before": "d.before"}
    parts = [
        """'{"job":"' || d.job_id || '","version":' || d.version + 1""",
        *(f"CASE WHEN {_alike(name)} IS NULL THEN {_said(name, told[name])} ELSE '' END" for name in _ALIKE),
        *([] if sets.after_is_shared else [_said("after", sets.after)]),
        *(f"coalesce({_said(name, value)}, '')" for name, value in sets.says.items()),
        "'}'",
    ]
    return " || ".join(parts)


def _said(name: str, value: str) -> str:
    """A member of an object; NULL where the value is."""
    return f""" ',"{name}":' || to_json({value})"""


def _shared(sets: Sets) -> str:
    says = {name: _alike(name) for name in _ALIKE} | ({"after": sets.after} if sets.after_is_shared else {})
    told = ", ".join(f"'{name}', {value}" for name, value in (says | dict(sets.shared)).items())
    return f"json_strip_nulls(json_build_object({told}))"


def _alike(name: str) -> str:
    return f"(SELECT {name} FROM alike)"  # noqa: S608 - constants
