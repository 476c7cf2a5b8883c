"""The planner: settles which jobs an operation is about, as of one journal position, in the background.

One transaction makes a whole plan; a planner that dies leaves nothing, and the next one begins anew.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg.errors import QueryCanceled

from jobplane.chassis.journal import Journal, Transaction
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.ids import Position
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.operations import Breakdown, BulkAction, Drift, JobsChanged, OperationStatus
from jobplane.jobs import operation_rows, search_sql
from jobplane.jobs.bulk import GiveUp, Operation, Planned
from jobplane.jobs.bulk_actions import CHANGED_SINCE, REFUSES
from jobplane.jobs.chunks import MOST, SHARD
from jobplane.jobs.operations import Operations
from jobplane.jobs.redaction import Redaction
from jobplane.jobs.search_index import SearchIndex

log = structlog.get_logger()

EVERY_S: Final = 1.0
AT_ONCE: Final = 2
"""So many plans are made at the same time by one process."""
SAMPLE: Final = 20
_GROUPS: Final = 50
_BLOCK: Final = 2000
"""Jobs that were made one after the other lie side by side: chunks are cut from so many of them, shard by shard.

By shard alone a chunk would touch a page for each job; by age alone it would have an event for each shard.
"""
_TIMEOUT: Final = "5min"
TRIES: Final = 8
"""So often a plan is tried, with longer and longer rests: two minutes in all."""
_OPEN: Final = """
SELECT id FROM operation WHERE status = 'planning' AND (plan_at IS NULL OR plan_at <= clock_timestamp())
ORDER BY plan_tries, id
"""
_PUT_OFF: Final = """
UPDATE operation SET plan_tries = plan_tries + 1,
    plan_at = clock_timestamp() + least(30, 2 ^ plan_tries) * interval '1 s'
WHERE id = %s RETURNING plan_tries
"""
_TOO_SLOW: Final = GiveUp(
    "search_too_slow", "To find these jobs takes too long: ask for less, e.g. a status, a queue or a time."
)
_NO_PLAN: Final = GiveUp(
    "plan_failed", "It could not be planned, however often it was tried: ask again, or tell an operator."
)
_BEGIN: Final = """
SELECT set_config('statement_timeout', %s, true), pg_try_advisory_xact_lock(hashtextextended('plan ' || %s, 0))
"""
_NAMED: Final = "SELECT unnest(ids) AS id, NULL::integer AS expected, NULL::json AS edit FROM operation WHERE id = %s"
_DONE: Final = """
SELECT item.id, item.version AS expected, NULL::json AS edit
FROM plan_chunk AS c, unnest(c.job_ids, c.versions) AS item (id, version)
WHERE c.operation_id = %s AND item.version IS NOT NULL
"""
_EDITED: Final = f"""
SELECT (item ->> 'job')::uuid AS id, (item ->> 'version')::integer AS expected, item -> 'was' AS edit
FROM event, json_array_elements(event.data -> 'items') AS item
WHERE event.stream_id = %s AND event.type = '{JobsChanged.TYPE}'
"""  # noqa: S608 - constants
# Everything in one statement, so that selection, counts and position are of one moment.
_PLAN: Final = """
WITH op AS MATERIALIZED (
    SELECT * FROM operation WHERE id = %s
), clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), wanted AS MATERIALIZED (
    {wanted}
), chosen AS MATERIALIZED (
    SELECT item.id, item.expected, item.edit, row_number() OVER (ORDER BY item.block, {shard}, item.id) - 1 AS n,
        job.status, job.queue, job.kind, job.error_fingerprint AS error,
        job.id IS NULL OR job.unique_key IS NOT NULL AS keyed,
        CASE WHEN {changed_since} THEN 'changed_since' ELSE {refuses} END AS code
    FROM op CROSS JOIN clock
        CROSS JOIN (SELECT *, (row_number() OVER (ORDER BY id) - 1) / {block} AS block FROM wanted) AS item
        LEFT JOIN job ON job.id = item.id
), planned AS (
    INSERT INTO plan_chunk (operation_id, number, job_ids, keyed, expected, edits)
    SELECT op.id, n / %s, array_agg(chosen.id ORDER BY n), bool_or(keyed),
        CASE WHEN count(expected) > 0 THEN array_agg(expected ORDER BY n) END,
        CASE WHEN count(chosen.edit) > 0 THEN array_agg(chosen.edit ORDER BY n) END
    FROM op, chosen GROUP BY 1, 2
), grouped AS (
    SELECT grouping(status, queue, kind, error, code) AS by_what, coalesce(status, queue, kind, error, code) AS word,
        count(*) AS n
    FROM chosen GROUP BY GROUPING SETS ((status), (queue), (kind), (error), (code))
), most AS (
    SELECT by_what, word, n FROM (
        SELECT *, row_number() OVER (PARTITION BY by_what ORDER BY n DESC, word) AS place FROM grouped
        WHERE word IS NOT NULL
    ) AS ordered WHERE place <= %s ORDER BY by_what, n DESC, word
)
SELECT (SELECT pos FROM journal_head), (SELECT count(*) FROM chosen),
    (SELECT json_agg(json_build_array(by_what, word, n)) FROM most),
    (SELECT array_agg(id) FROM (SELECT id FROM chosen ORDER BY id DESC LIMIT %s) AS newest)
"""
_DRIFT: Final = """
WITH fits AS MATERIALIZED (SELECT id FROM ({wanted}) AS wanted), planned AS MATERIALIZED (
    SELECT unnest(job_ids) AS id FROM plan_chunk WHERE operation_id = %s
)
SELECT (SELECT count(*) FROM (SELECT id FROM fits EXCEPT SELECT id FROM planned) AS added),
    (SELECT count(*) FROM (SELECT id FROM planned EXCEPT SELECT id FROM fits) AS gone)
"""
_NOTE: Final = """
UPDATE operation SET ids = NULL, breakdown = %s::json, sample = %s::uuid[], chunks = %s, chunk_size = %s WHERE id = %s
"""
_WORDS: Final = {0b01111: "status", 0b10111: "queue", 0b11011: "kind", 0b11101: "error", 0b11110: "code"}
"""By the bits of the columns that a group is not of."""


class _Overtaken(Exception):
    """The operation was stopped while it was planned: what was written is not wanted."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which jobs: a query of `id`, `expected` (version) and `edit`, and its parameters."""

    query: str
    parameters: Sequence[object]


Matching = Callable[[JobFilter], Awaitable[Selection]]
"""The jobs that match, once whatever must be known for that is known; raises `Refused` for what nobody may search."""


def by_filter(wanted: JobFilter, redaction: Redaction) -> tuple[str, list[object], bool]:
    """The query of the ids that match, its parameters, and whether the index of the search must be up to date."""
    found = search_sql.matching(wanted, redaction)
    return found.text, found.parameters, found.needs_index


class ByFilter:
    """Selects by a filter; see `Matching`."""

    def __init__(self, redaction: Redaction, journal: Journal, index: SearchIndex) -> None:
        self._redaction = redaction
        self._journal = journal
        self._index = index

    async def __call__(self, wanted: JobFilter) -> Selection:
        """The jobs that match.

        Raises:
            Refused: `field_redacted`.
        """
        text, parameters, needs_index = by_filter(wanted, self._redaction)
        if needs_index:
            await self._index.reach((await self._journal.figures()).position)
        query = f"SELECT found.id, NULL::integer AS expected, NULL::json AS edit FROM ({text}) AS found"  # noqa: S608 - ours
        return Selection(query, parameters)

    async def drift(self, tx: Transaction, state: Operation) -> Drift | None:
        """How the set of jobs that match has changed since it was planned."""
        if state.filter is None:
            return None
        selection = await self(JobFilter.model_validate(state.filter))
        query = _DRIFT.format(wanted=selection.query)
        row = await (await tx.conn.execute(query, (*selection.parameters, state.id))).fetchone()
        return None if row is None else Drift(added=row[0], gone=row[1])


class Planner:
    """Plans what waits for it; `planned(id)` is called for each operation that may run at once."""

    def __init__(
        self,
        journal: Journal,
        operations: Operations,
        started: Callable[[], None],
        matching: Matching,
    ) -> None:
        self._journal = journal
        self._operations = operations
        self._started = started
        self._matching = matching

    async def run_once(self) -> int:
        """Plan what waits; gives how many plans were made.

        A plan that cannot be made is tried again later; in the end its operation has failed. It never stops the others.

        Raises:
            Unavailable: nothing can be written just now.
        """
        async with self._journal.pool.connection() as conn:
            waiting = [row[0] for row in await (await conn.execute(_OPEN)).fetchall()]
        made, failures = 0, list[Unavailable]()
        for operation_id in waiting:
            try:
                made += await self.plan(operation_id)
            except Unavailable as error:
                failures.append(error)
            except Exception as error:
                log.warning("operation.not_planned", operation_id=operation_id, exc_info=True)
                await self._put_off(operation_id, error)
        if failures:
            raise failures[0]
        return made

    async def plan(self, operation_id: str) -> bool:
        """Plan one operation; false: somebody else does, or it is not wanted any more."""
        try:
            async with self._journal.transaction() as tx:
                evolved = await self._plan(tx, operation_id)
        except _Overtaken:
            return False
        if evolved is None:
            return False
        log.info("operation.planned", operation_id=operation_id, total=evolved.total, status=evolved.status.value)
        if evolved.status is OperationStatus.RUNNING:
            self._started()
        return True

    async def _put_off(self, operation_id: str, error: Exception) -> None:
        async with self._journal.pool.connection() as conn:
            row = await (await conn.execute(_PUT_OFF, (operation_id,))).fetchone()
        too_slow = isinstance(error, QueryCanceled)
        if row is None or (row[0] < TRIES and not too_slow):
            return
        async with self._journal.transaction() as tx:
            await self._operations.proceed(tx, operation_id, _TOO_SLOW if too_slow else _NO_PLAN)

    async def _plan(self, tx: Transaction, operation_id: str) -> Operation | None:
        begun = await (await tx.conn.execute(_BEGIN, (_TIMEOUT, operation_id))).fetchone()
        state = await operation_rows.load(tx.conn, operation_id, lock=False)
        if begun is None or not begun[1] or state is None or state.status is not OperationStatus.PLANNING:
            return None
        try:
            selection = await self._selection(state)
        except Refused as error:
            return await self._operations.proceed(tx, operation_id, GiveUp(error.code, error.detail))
        size = MOST if state.rate is None else max(1, min(MOST, int(state.rate)))
        query = plan_statement(state.action, selection.query)
        parameters = (operation_id, *selection.parameters, size, _GROUPS, SAMPLE)
        row = await (await tx.conn.execute(query, parameters)).fetchone()
        if row is None:
            raise AssertionError
        position, total, groups, sample = row
        breakdown, skipping = _breakdown(groups or ())
        evolved = await self._operations.proceed(tx, operation_id, Planned(total, Position(position), skipping))
        if evolved is None:
            raise _Overtaken
        chunks = -(-total // size)
        await tx.conn.execute(_NOTE, (breakdown.model_dump_json(), sample, chunks, size, operation_id))
        return evolved

    async def _selection(self, state: Operation) -> Selection:
        if state.undo_of is not None:
            return Selection(_EDITED if state.action is BulkAction.EDIT else _DONE, (state.undo_of,))
        if state.filter is not None:
            return await self._matching(JobFilter.model_validate(state.filter))
        return Selection(_NAMED, (state.id,))


def plan_statement(action: BulkAction, wanted: str) -> str:
    """The statement that plans an action on the jobs that `wanted` gives."""
    return _PLAN.format(
        wanted=wanted,
        block=_BLOCK,
        shard=SHARD.format(id="item.id"),
        refuses=REFUSES[action],
        changed_since=CHANGED_SINCE,
    )


def _breakdown(groups: Sequence[Sequence[Any]]) -> tuple[Breakdown, dict[str, int]]:
    found: dict[str, dict[str, int]] = {name: {} for name in _WORDS.values()}
    for by_what, word, n in groups:
        found[_WORDS[by_what]][word] = n
    skipping = found.pop("code")
    return Breakdown.model_validate(found), skipping
