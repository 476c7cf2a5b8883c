"""What others may read of bulk operations: one, lists, the jobs of one; every page by keyset."""

import re
from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.contracts import cursors
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId, Position
from jobplane.contracts.operations import (
    ENDED,
    Breakdown,
    BulkAction,
    ItemOutcome,
    OperationItem,
    OperationItems,
    OperationPage,
    OperationStatus,
    OperationView,
    UndoView,
)
from jobplane.contracts.queries import ListItems, ListOperations, OneOperation
from jobplane.jobs import operation_rows
from jobplane.jobs.bulk import INVERSE, PLAN_KEPT, REFUSALS, Operation, takes_back
from jobplane.jobs.bulk_actions import CHANGED_SINCE, REFUSES

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLACE: Final = re.compile(r"[0-9]{1,9}\.[0-9]{1,3}")
_LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
_ONE: Final = f"SELECT {operation_rows.COLUMNS}, breakdown, sample FROM operation WHERE id = %s"  # noqa: S608 - constants
_PAGE: Final = f"""
SELECT {operation_rows.COLUMNS} FROM operation
WHERE id < %s AND (%s::text[] IS NULL OR status = ANY(%s::text[])) ORDER BY id DESC LIMIT %s
"""  # noqa: S608 - constants
_LOOKED_AT: Final = 10_000
"""Of so many jobs it is looked at each; of more, at chunks that lie evenly among all."""
# Whatever the planner believes of the number of jobs: these few are looked up, never found by reading all there are.
_BY_INDEX: Final = """
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),
    set_config('enable_seqscan', 'off', true)
"""
_PUT_BACK: Final = """
WITH op AS MATERIALIZED (
    SELECT *, greatest(1, ceil(next_chunk * chunk_size / %s::float8))::integer AS step FROM operation WHERE id = %s
), clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
)
SELECT code, count(*) FROM (
    SELECT CASE WHEN {changed_since} THEN 'changed_since' ELSE {refuses} END AS code
    FROM op CROSS JOIN clock CROSS JOIN LATERAL generate_series(0, op.next_chunk - 1, op.step) AS wanted (number)
        JOIN plan_chunk AS c ON c.operation_id = op.id AND c.number = wanted.number
        CROSS JOIN LATERAL unnest(c.job_ids, c.versions) AS item (id, expected) LEFT JOIN job ON job.id = item.id
    WHERE item.expected IS NOT NULL
) AS judged GROUP BY code
"""
_ERROR_TYPES: Final = "SELECT fingerprint, type FROM error_group WHERE fingerprint = ANY(%s::text[])"
_GONE: Final = "CASE WHEN job.id IS NULL THEN 'job_not_found' END"
"""What can stand in the way of giving a job back what it had: that was right once, and is while nothing changed."""
# Chunks of which nothing is wanted are passed over without looking into them.
_ITEMS: Final = """
SELECT c.number, item.place, item.id, item.code, item.version, item.position, c.versions IS NOT NULL,
    item.place + (SELECT chunk_size FROM operation WHERE id = c.operation_id) * c.number
FROM plan_chunk AS c, unnest(c.job_ids, c.codes, c.versions, c.positions)
    WITH ORDINALITY AS item (id, code, version, position, place)
WHERE c.operation_id = %s AND c.number >= %s AND (c.number, item.place) > (%s, %s)
    AND CASE %s::text WHEN 'waiting' THEN c.versions IS NULL WHEN 'done' THEN c.versions IS NOT NULL
        WHEN 'skipped' THEN c.codes IS NOT NULL ELSE true END
    AND CASE %s::text WHEN 'done' THEN item.version IS NOT NULL WHEN 'skipped' THEN item.code IS NOT NULL ELSE true END
    AND (%s::text IS NULL OR (c.codes IS NOT NULL AND item.code = %s))
ORDER BY c.number, item.place LIMIT %s
"""
_MEANS: Final = {
    BulkAction.CANCEL: "Jobs that have not started since are cancelled; what started is not called back.",
    BulkAction.RESTORE: "Cancelled jobs wait again; a run that the cancel stopped starts anew.",
    BulkAction.EDIT: "Each job gets back what it had before; one that was forced to run at once waits for its time.",
}


class OperationViews:
    """Reads the service's own tables: it always sees what was committed before the question."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def one(self, query: OneOperation) -> OperationView:
        """One operation, whole.

        Raises:
            Refused: `operation_not_found`.
        """
        if _ID.fullmatch(query.operation_id) is None:
            raise _not_found(query.operation_id)
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_ONE, (query.operation_id,))).fetchone()
            if row is None:
                raise _not_found(query.operation_id)
            state = operation_rows.operation_of(row)
            undo = await _undo(conn, state)
            breakdown = await _breakdown(conn, row[-2]) if row[-2] else None
        more = {"breakdown": breakdown, "sample": row[-1] or [], "undo": undo}
        return view(state).model_copy(update=more)

    async def page(self, query: ListOperations) -> OperationPage:
        """One page, newest first.

        Raises:
            Refused: `invalid_cursor`.
        """
        before = cursors.opened(query.cursor, _ID)[0] if query.cursor else _LAST_ID
        wanted = [status.value for status in query.status] or None
        async with self._pool.connection() as conn:
            found = await (await conn.execute(_PAGE, (before, wanted, wanted, query.limit + 1))).fetchall()
        items = [view(operation_rows.operation_of(row)) for row in found[: query.limit]]
        more = len(found) > query.limit
        return OperationPage(items=items, next_cursor=cursors.sealed(items[-1].id) if more else None)

    async def items(self, query: ListItems) -> OperationItems:
        """The jobs of an operation, in its order.

        Raises:
            Refused: `operation_not_found`, `invalid_cursor`.
        """
        number, place = cursors.opened(query.cursor, _PLACE)[0].split(".") if query.cursor else ("0", "0")
        if _ID.fullmatch(query.operation_id) is None:
            raise _not_found(query.operation_id)
        told = (
            *(query.operation_id, int(number), int(number), int(place)),
            *(query.outcome, query.outcome, query.code, query.code, query.limit + 1),
        )
        async with self._pool.connection() as conn:
            found = await (await conn.execute(_ITEMS, told)).fetchall()
            known = found or await (await conn.execute(_ONE, (query.operation_id,))).fetchone()
        if not known:
            raise _not_found(query.operation_id)
        shown = found[: query.limit]
        after = cursors.sealed(f"{shown[-1][0]}.{shown[-1][1]}") if len(found) > query.limit else None
        return OperationItems(items=[_item(row) for row in shown], next_cursor=after)


def view(state: Operation) -> OperationView:
    """An operation as everybody sees it."""
    planned = state.status is OperationStatus.PLANNED and state.planned_at is not None
    return OperationView(
        id=state.id,
        action=state.action,
        status=state.status,
        actor=state.actor,
        reason=state.reason,
        filter=state.filter,
        edit=state.edit,
        rate=state.rate,
        then_run=state.then_run,
        undo_of=state.undo_of,
        requested_at=state.requested_at,
        planned_at=state.planned_at,
        started_at=state.started_at,
        ended_at=state.ended_at,
        expires_at=state.planned_at + PLAN_KEPT if planned and state.planned_at else None,
        as_of=None if state.as_of is None else Position(state.as_of),
        total=state.total,
        done=state.done,
        skipped=sum(state.codes.values()),
        codes=dict(state.codes),
        skipping=dict(state.skipping),
        drift=state.drift,
        code=state.code,
        detail=state.detail,
    )


async def _breakdown(conn: AsyncConnection[Any], planned: dict[str, Any]) -> Breakdown:
    """What was planned, with the names of its errors."""
    breakdown = Breakdown.model_validate(planned)
    if not breakdown.error:
        return breakdown
    types = dict(await (await conn.execute(_ERROR_TYPES, (list(breakdown.error),))).fetchall())
    return breakdown.model_copy(update={"error_types": types})


async def _undo(conn: AsyncConnection[Any], state: Operation) -> UndoView | None:
    if state.status not in ENDED and state.status is not OperationStatus.PAUSED:
        return None
    inverse = INVERSE.get(state.action)
    if inverse is None:
        return UndoView(action=None, possible=0, impossible=state.done, why=REFUSALS["not_undoable"])
    refuses = _GONE if inverse is BulkAction.EDIT else REFUSES[inverse]
    query = _PUT_BACK.format(changed_since=CHANGED_SINCE, refuses=refuses)
    async with conn.transaction():
        await conn.execute(_BY_INDEX)
        found = await (await conn.execute(query, (_LOOKED_AT, state.id))).fetchall()
    looked_at = sum(n for _, n in found)
    codes = {code: round(n * state.done / looked_at) for code, n in found if code is not None}
    impossible = min(state.done, sum(codes.values()))
    undos = await operation_rows.undos_of(conn, state.id)
    return UndoView(
        action=inverse,
        possible=state.done - impossible,
        impossible=impossible,
        codes=codes,
        estimated=looked_at < state.done,
        by=next((undo.id for undo in undos if takes_back(undo)), None),
        why=_MEANS[inverse],
    )


def _item(row: Sequence[Any]) -> OperationItem:
    _, _, job_id, code, version, position, over, n = row
    outcome: ItemOutcome = "waiting" if not over else "done" if version is not None else "skipped"
    told = None if position is None else Position(position)
    return OperationItem(n=n, job_id=JobId(job_id), outcome=outcome, code=code, version=version, position=told)


def _not_found(operation_id: str) -> Refused:
    return Refused("operation_not_found", REFUSALS["operation_not_found"], {"operation_id": operation_id})
