"""Pages of the AuditLog, newest first: filters compose by AND, and the cursor is the last position that was shown."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed

from jobplane.audit.entry import is_uuid
from jobplane.contracts import cursors
from jobplane.contracts.audit import AuditAction, AuditActor, AuditItem, AuditPage, AuditQuery, AuditTarget
from jobplane.contracts.errors import Refused

ROUTINE: Final = frozenset({AuditAction.JOB_CREATED, AuditAction.JOB_STARTED, AuditAction.JOB_COMPLETED})
"""The actions of every ordinary job: most of the log."""

_PAGE: Final = SQL("""
SELECT position, source, source_position, at, action, actor_id, actor_kind, actor_role, actor_origin, reason,
       target_type, coalesce(target_id::text, target_name) AS target, before, after, refused, code,
       command_id::text, correlation_id::text, replace(trace_id::text, '-', '') AS trace_id, count,
       operation_id::text, command
FROM audit_log WHERE {} ORDER BY position DESC LIMIT %(rows)s
""")

# Each action's newest entries come in order from the index; together they are a few pages to sort.
_PAGE_BY_ACTION: Final = SQL("""
SELECT found.* FROM unnest(%(actions)s::audit_action[]) AS wanted (action) CROSS JOIN LATERAL ({}) AS found
ORDER BY position DESC LIMIT %(rows)s
""")

# What was recorded late is not in the span of positions of its hour. The few such positions are looked up first.
_TIMED_PAGE: Final = SQL("""
SELECT DISTINCT ON (position) * FROM (({}) UNION ALL ({})) AS found ORDER BY position DESC LIMIT %(rows)s
""")

_EVERYTHING: Final = SQL("true")
_NOTHING: Final = SQL("false")

# Word for word the condition of the index `audit_log_rare_action`, so that the planner may use it.
_RARE: Final = SQL("action NOT IN ('JOB_CREATED', 'JOB_STARTED', 'JOB_COMPLETED') AND action = wanted.action")

# Word for word the condition and the key of `audit_log_person`: people have UUIDs, programs have names.
_PERSON: Final = SQL("""
actor_id = %(actor)s AND hashtextextended(actor_id, 0) = hashtextextended(%(actor)s, 0)
AND actor_kind NOT IN ('worker', 'system') AND length(actor_id) = 36
""")
_MACHINE: Final = SQL("actor_id = %(actor)s")

# A span of time is first turned into a span of positions, which is exact to the hour and needs no index on `at`.
_SINCE: Final = SQL("""
at >= %(since)s AND position >= (
    SELECT min(first_position) FROM audit_hour WHERE hour >= date_trunc('hour', %(since)s::timestamptz, 'UTC')
)
""")
_UNTIL: Final = SQL("""
at < %(until)s AND position <= (SELECT max(last_position) FROM audit_hour WHERE hour < %(until)s)
""")

_LATE: Final = SQL("""
at >= coalesce(%(since)s, '-infinity'::timestamptz) AND at < coalesce(%(until)s, 'infinity'::timestamptz)
AND position = ANY (ARRAY(
    SELECT position FROM audit_late
    WHERE at >= coalesce(%(since)s, '-infinity'::timestamptz) AND at < coalesce(%(until)s, 'infinity'::timestamptz)
))
""")

MAX_PAGE_BYTES: Final = 512 * 1024
_VERSION: Final = "1."
_CURSOR: Final = re.compile(r"1\.([1-9][0-9]{0,18})")


async def page(conn: AsyncConnection[Any], query: AuditQuery) -> AuditPage:
    """One page of what `query` asks for; shorter than its limit where the entries would not fit into one message.

    Raises:
        Refused: `invalid_cursor`.
    """
    statement, parameters = select(query)
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        rows = await cursor.fetchall()
    items = _fitting(_item(row) for row in rows[: query.limit])
    return AuditPage(items=items, next_cursor=cursor_after(items[-1].position) if len(items) < len(rows) else None)


def _fitting(items: Iterable[AuditItem]) -> list[AuditItem]:
    """As many as fit into a message, at least one."""
    fitting: list[AuditItem] = []
    room = MAX_PAGE_BYTES
    for item in items:
        room -= len(item.model_dump_json().encode())
        if room < 0 and fitting:
            break
        fitting.append(item)
    return fitting


def select(query: AuditQuery) -> tuple[Composed, dict[str, object]]:
    """The statement for a page and its parameters; it asks for one row more, to know whether there is a next page."""
    parameters: dict[str, object] = {
        **query.model_dump(exclude={"limit", "cursor", "action"}),
        "rows": query.limit + 1,
        "below": None if query.cursor is None else position_in(query.cursor),
        "actions": sorted(set(query.action)),
    }
    conditions = _conditions(query)
    if not query.action:
        return _page(query, conditions), parameters
    if ROUTINE.isdisjoint(query.action):
        return _PAGE_BY_ACTION.format(_page(query, [*conditions, _RARE])), parameters
    return _page(query, [*conditions, SQL("action = ANY(%(actions)s::audit_action[])")]), parameters


def _page(query: AuditQuery, conditions: Sequence[SQL]) -> Composed:
    spans = [span for limit, span in ((query.since, _SINCE), (query.until, _UNTIL)) if limit is not None]
    page = _PAGE.format(SQL(" AND ").join([*conditions, *spans] or [_EVERYTHING]))
    return _TIMED_PAGE.format(page, _PAGE.format(SQL(" AND ").join([*conditions, _LATE]))) if spans else page


def _conditions(query: AuditQuery) -> list[SQL]:
    ids = (query.command_id, query.correlation_id, query.operation)
    if not all(text is None or is_uuid(text) for text in ids) or "\0" in f"{query.actor}{query.target}":
        return [_NOTHING]  # no entry has such a value, and Postgres would not even compare it
    conditions = (
        (query.cursor, SQL("position < %(below)s")),
        (query.actor, _PERSON if is_uuid(query.actor or "") else _MACHINE),
        (query.target, SQL("target_id = %(target)s" if is_uuid(query.target or "") else "target_name = %(target)s")),
        (query.outcome, SQL("refused" if query.outcome == "refused" else "NOT refused")),
        (query.command_id, SQL("command_id = %(command_id)s")),
        (query.correlation_id, SQL("correlation_id = %(correlation_id)s")),
        (query.operation, SQL("operation_id = %(operation)s")),
    )
    return [condition for wanted, condition in conditions if wanted is not None]


def cursor_after(position: int) -> str:
    """The cursor for the page after the entry at `position`."""
    return cursors.sealed(f"{_VERSION}{position}")


def position_in(cursor: str) -> int:
    """The position before which the page begins.

    Raises:
        Refused: `invalid_cursor`, unless it is one that was handed out.
    """
    position = int(cursors.opened(cursor, _CURSOR)[1])
    if not 0 < position < 2**63:
        raise Refused("invalid_cursor", cursors.NOT_OURS)
    return position


def _item(row: dict[str, Any]) -> AuditItem:
    return AuditItem(
        position=row["position"],
        source=row["source"],
        source_position=row["source_position"],
        at=row["at"],
        action=AuditAction(row["action"]),
        actor=AuditActor(
            id=row["actor_id"], kind=row["actor_kind"], role=row["actor_role"], origin=row["actor_origin"]
        ),
        reason=row["reason"],
        target=AuditTarget(type=row["target_type"], id=row["target"]),
        before=row["before"],
        after=row["after"],
        outcome="refused" if row["refused"] else "accepted",
        code=row["code"],
        command=row["command"],
        command_id=row["command_id"],
        correlation_id=row["correlation_id"],
        trace_id=row["trace_id"] or "",
        operation_id=row["operation_id"],
        count=row["count"],
    )
