"""Chunks: up to 500 jobs of an operation are locked, decided, changed and recorded in one round trip.

What is done and that it is done are written by one transaction, so nothing is ever done twice or lost.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

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
from jobplane.jobs.bulk_actions import ACTIONS, CHANGED_SINCE, REFUSES, Sets

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
    FROM (SELECT unnest(c.job_ids) AS id {_NEXT}) AS item JOIN job ON job.id = item.id
    WHERE job.unique_key IS NOT NULL ORDER BY 1
) AS ordered
"""  # noqa: S608 - constants
# In a statement of its own: the next one then sees what those wrote who held them.
_LOCK_JOBS: Final = f"""
SELECT count(*) FROM (
    SELECT job.id FROM job WHERE job.id = ANY((SELECT c.job_ids {_NEXT})::uuid[]) ORDER BY job.id FOR UPDATE
) AS locked
"""  # noqa: S608 - constants
_CARRY_OUT: Final = """
WITH op AS MATERIALIZED (
    SELECT op.*, c.job_ids, c.expected, c.edits {next}
), clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), decided AS MATERIALIZED (
    SELECT item.n, item.job_id, {shard} AS shard, job.version, job.queue, job.kind, job.status AS before, job.run,
        job.worker, job.token, job.attempt, job.stop, job.forced, job.run_at, job.priority, job.max_attempts,
        job.unique_key, job.error_fingerprint, {edit} AS edit, {changes} AS changes,
        CASE WHEN {changed_since} THEN 'changed_since' ELSE {refuses} END AS code
    FROM op CROSS JOIN clock
        CROSS JOIN LATERAL unnest(op.job_ids, op.expected, op.edits) WITH ORDINALITY AS item (job_id, expected, edit, n)
        LEFT JOIN job ON job.id = item.job_id
), settled AS MATERIALIZED (
    SELECT decided.*, {code} AS verdict FROM decided
), told AS MATERIALIZED (
    SELECT shard, row_number() OVER (ORDER BY shard) AS k, items FROM (
        SELECT d.shard, json_agg({item} ORDER BY d.n) AS items
        FROM settled AS d CROSS JOIN clock CROSS JOIN op WHERE d.verdict IS NULL GROUP BY d.shard
    ) AS by_shard
), head AS (
    UPDATE journal_head SET pos = pos + (SELECT count(*) FROM told) WHERE {writable}
    RETURNING pos - (SELECT count(*) FROM told) AS base
), appended AS (
    INSERT INTO event (pos, stream_id, version, type, id, actor, reason, correlation_id, causation_id, traceparent, at,
        data)
    SELECT head.base + told.k, op.id, op.version + told.k, '{type}', (%s::uuid[])[told.k],
        coalesce(op.acting, op.actor), op.reason,
        op.correlation_id, op.command_id, op.traceparent, clock.now,
        json_build_object('action', op.action, 'type', '{event}', 'shared', {shared}, 'items', told.items)
    FROM head, op, clock, told
), changed AS (
    UPDATE job SET {sets}, version = job.version + 1, position = head.base + told.k,
        bulk_positions = array_append(job.bulk_positions, head.base + told.k), lease_until = NULL, lease_request = NULL,
        unmentioned_at = NULL
    FROM head, op, clock, settled AS d JOIN told ON told.shard = d.shard
    WHERE job.id = d.job_id AND d.verdict IS NULL
), counted AS (
    INSERT INTO job_count AS kept (queue, status, n)
    SELECT queue, status, sum(n) FROM (
        SELECT d.queue, d.before AS status, -1 AS n FROM settled AS d WHERE d.verdict IS NULL
        UNION ALL SELECT {queue}, {after}, 1 FROM settled AS d WHERE d.verdict IS NULL
    ) AS moves, head GROUP BY queue, status HAVING sum(n) <> 0 ORDER BY queue, status
    ON CONFLICT (queue, status) DO UPDATE SET n = kept.n + excluded.n
), {left_groups}noted AS (
    UPDATE plan_chunk SET codes = of_items.codes, versions = of_items.versions, positions = of_items.positions
    FROM head, op, (
        SELECT CASE WHEN count(d.verdict) > 0 THEN array_agg(d.verdict ORDER BY d.n) END AS codes,
            array_agg(CASE WHEN d.verdict IS NULL THEN d.version + 1 END ORDER BY d.n) AS versions,
            array_agg(CASE WHEN d.verdict IS NULL THEN head.base + told.k END ORDER BY d.n) AS positions
        FROM head, settled AS d LEFT JOIN told ON told.shard = d.shard
    ) AS of_items
    WHERE plan_chunk.operation_id = op.id AND plan_chunk.number = op.next_chunk
), moved AS (
    UPDATE operation SET next_chunk = operation.next_chunk + 1,
        version = operation.version + (SELECT count(*) FROM told),
        done = operation.done + (SELECT count(*) FROM settled WHERE verdict IS NULL),
        codes = (
            SELECT coalesce(jsonb_object_agg(code, n), '{{}}') FROM (
                SELECT code, sum(n) AS n FROM (
                    SELECT key AS code, value::bigint AS n FROM jsonb_each_text(operation.codes)
                    UNION ALL SELECT verdict, 1 FROM settled WHERE verdict IS NOT NULL
                ) AS both_counts GROUP BY code
            ) AS summed
        ),
        next_at = clock.now + (SELECT count(*) FROM settled) / operation.rate * interval '1 s'
    FROM head, op, clock WHERE operation.id = op.id
)
SELECT base, (SELECT count(*) FROM told), (SELECT count(*) FROM settled),
    (SELECT count(*) FROM settled WHERE verdict IS NULL),
    (SELECT json_agg(DISTINCT {queue}) FROM settled AS d WHERE d.verdict IS NULL),
    (SELECT json_agg(json_build_array(worker, job_id, token)) FROM settled
        WHERE verdict IS NULL AND before = 'RUNNING' AND token IS NOT NULL)
FROM head
"""
_LEFT_GROUPS: Final = error_groups.leave("""
    SELECT d.error_fingerprint AS fingerprint, count(*) AS n FROM settled AS d
    WHERE d.verdict IS NULL AND d.before = 'FAILED' AND d.error_fingerprint IS NOT NULL GROUP BY d.error_fingerprint
""")
# Of several jobs that want one key the first gets it.
_FIRST_OF_KEY: Final = """CASE
    WHEN decided.code IS NULL AND decided.unique_key IS NOT NULL
        AND row_number() OVER (PARTITION BY kind, unique_key, code IS NULL ORDER BY n) > 1 THEN 'unique_key_taken'
    ELSE decided.code
END"""


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


async def carry_out_next(journal: Journal, operation_id: str, action: BulkAction) -> Carried | None:
    """Do the next chunk of an operation; None: somebody else is at it just now.

    Raises:
        Unavailable: the journal is halted, and nothing was done.
    """
    sets = ACTIONS[action]
    ids = plain(new_id() for _ in range(SHARDS))
    try:
        async with journal.exchange() as tx:
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
        code=_FIRST_OF_KEY if sets.takes_key else "decided.code",
        item=_item(sets),
        writable=WRITABLE,
        type=JobsChanged.TYPE,
        event=sets.event,
        shared=_object({"after": sets.after, **sets.shared} if sets.after_is_shared else dict(sets.shared)),
        sets=", ".join(f"{column} = {value}" for column, value in sets.sets.items()),
        queue=sets.queue,
        after=sets.after,
        left_groups=f"{_LEFT_GROUPS}, " if sets.leaves_group else "",
    )


def _item(sets: Sets) -> str:
    says = {
        "job": "d.job_id",
        "version": "d.version + 1",
        "queue": sets.queue,
        "kind": "d.kind",
        "before": "d.before",
        **({} if sets.after_is_shared else {"after": sets.after}),
        **sets.says,
    }
    built = _object(says)
    return f"json_strip_nulls({built})" if sets.says else built


def _object(says: dict[str, str]) -> str:
    return "json_build_object(" + ", ".join(f"'{name}', {value}" for name, value in says.items()) + ")"
