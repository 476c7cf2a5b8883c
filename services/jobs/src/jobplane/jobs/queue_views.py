"""What others may read of queues: counters, the oldest job that waits, and how they are controlled."""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import Position
from jobplane.contracts.queries import OneKind, OneQueue
from jobplane.contracts.queues import QueueControl, QueueList, QueueView
from jobplane.jobs import control_rows, queue_control
from jobplane.jobs.queue import Control, Target, told

_MOST_COUNTED: Final = 1000
# The oldest ready job of a queue: the first of each (kind, forced, priority) along the index of claims, never all.
OLDEST: Final = """(
    WITH RECURSIVE groups AS (
        (SELECT kind, forced, priority, run_at FROM job WHERE queue = c.queue AND ready
            ORDER BY kind DESC, forced DESC, priority DESC, run_at LIMIT 1)
        UNION ALL
        SELECT following.* FROM groups, LATERAL (
            SELECT kind, forced, priority, run_at FROM job WHERE queue = c.queue AND ready
                AND (kind, forced, priority) < (groups.kind, groups.forced, groups.priority)
            ORDER BY kind DESC, forced DESC, priority DESC, run_at LIMIT 1
        ) AS following
    ) SELECT min(run_at) FROM groups
)"""
"""Since when the oldest job waits that may run in the queue `c.queue`."""
_QUEUES: Final = f"""
SELECT c.queue, c.known, c.pending, c.running,
    (SELECT count(*) FROM (SELECT FROM job WHERE queue = c.queue AND ready LIMIT {_MOST_COUNTED + 1}) AS ready),
    CASE WHEN c.pending > 0 THEN {OLDEST} END, {control_rows.COLUMNS}
FROM (
    SELECT queue, count(status) > 0 AS known, coalesce(sum(n) FILTER (WHERE status = 'PENDING'), 0)::bigint AS pending,
        coalesce(sum(n) FILTER (WHERE status = 'RUNNING'), 0)::bigint AS running
    FROM (
        SELECT queue, status, n FROM job_count
        UNION ALL SELECT name, NULL, 0 FROM queue_control WHERE sort = 'queue' AND (active OR name = %s)
    ) AS counts WHERE %s::text IS NULL OR queue = %s GROUP BY queue
) AS c LEFT JOIN queue_control ON key = 'queue:' || c.queue ORDER BY c.queue
"""  # noqa: S608 - constants
_KINDS: Final = f"""
SELECT {control_rows.COLUMNS} FROM queue_control WHERE sort = 'kind' AND (name = %s OR (%s::text IS NULL AND active))
ORDER BY name
"""  # noqa: S608 - constants


class QueueViews:
    """Reads the service's own tables."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def all(self) -> QueueList:
        """Every queue that has or had jobs or is controlled, and the kinds that are controlled, at one moment."""
        async with self._pool.connection() as conn, conn.transaction():
            await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            head = await (await conn.execute("SELECT pos FROM journal_head")).fetchone()
            queues = [_view(row) for row in await (await conn.execute(_QUEUES, (None, None, None))).fetchall()]
            found = [control_rows.control(row) for row in await (await conn.execute(_KINDS, (None, None))).fetchall()]
            kinds = [await _kind(conn, item) for item in found]
        return QueueList(queues=queues, kinds=kinds, position=Position(head[0] if head else 0))

    async def one(self, query: OneQueue) -> QueueView:
        """One queue.

        Raises:
            Refused: `queue_not_found`: it never had a job, and nobody controlled it.
        """
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_QUEUES, (query.queue,) * 3)).fetchone()
        if row is None:
            detail = "No job was ever in a queue of that name, and nobody controlled it: look at the list of queues."
            raise Refused("queue_not_found", detail, {"queue": query.queue})
        return _view(row)

    async def kind(self, query: OneKind) -> QueueControl:
        """How a kind is controlled; one that never was runs freely."""
        target = Target("kind", query.kind)
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_KINDS, (query.kind, query.kind))).fetchone()
            found = Control(target) if row is None else control_rows.control(row)
            return await _kind(conn, found)


async def _kind(conn: AsyncConnection[Any], found: Control) -> QueueControl:
    running, known = await queue_control.running(conn, found.target), await queue_control.is_known(conn, found.target)
    return told(found, running, known=known)


def _view(row: Sequence[Any]) -> QueueView:
    queue, known, pending, running, due, oldest_at, *columns = row
    found = Control(Target("queue", queue)) if columns[0] is None else control_rows.control(columns)
    return QueueView(
        **told(found, running, known=known).model_dump(),
        pending=pending,
        due=min(due, _MOST_COUNTED),
        due_more=due > _MOST_COUNTED,
        oldest_at=oldest_at,
    )
