"""The AuditLog in Postgres: entries are added in order of their events, each once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from jobplane.audit.entry import AuditEntry, is_uuid

_COPY: Final[LiteralString] = """
COPY audit_log (
    position, source_position, at, correlation_id, trace_id, command_id, target_id, source, action, count, index,
    refused, actor_id, actor_kind, target_type, before, after, actor_role, actor_origin, target_name, code, reason
) FROM STDIN
"""

_KNOWN: Final[LiteralString] = """
SELECT source_position, index FROM audit_log
WHERE source = %s AND source_position BETWEEN %s AND %s
"""

_TAKE: Final[LiteralString] = "UPDATE audit_head SET position = position + %s RETURNING position - %s + 1"

_SPAN: Final[LiteralString] = """
INSERT INTO audit_hour (hour, first_position, last_position)
SELECT * FROM unnest(%s::timestamptz[], %s::bigint[], %s::bigint[])
ON CONFLICT (hour) DO UPDATE
SET first_position = least(audit_hour.first_position, excluded.first_position),
    last_position = greatest(audit_hour.last_position, excluded.last_position)
"""

_COVERED: Final[LiteralString] = """
SELECT (SELECT count(DISTINCT source_position) FROM audit_log WHERE source = %(source)s::audit_source)
     + (SELECT count(*) FROM dead_event WHERE stream = %(source)s::text)
"""


async def append(conn: AsyncConnection[Any], entries: Sequence[AuditEntry]) -> int:
    """Add entries of one source, in order, in the caller's transaction; returns how many were new.

    What the log has already stays as it is, so adding an entry again changes nothing.
    """
    if not entries:
        return 0
    fresh = await _unknown(conn, entries)
    if not fresh:
        return 0
    cursor = await conn.execute(_TAKE, (len(fresh), len(fresh)))
    row = await cursor.fetchone()
    first = 1 if row is None else int(row[0])
    async with conn.cursor() as copying, copying.copy(_COPY) as copy:
        for position, entry in enumerate(fresh, start=first):
            await copy.write_row(_row(position, entry))
    await _widen_hours(conn, fresh, first)
    return len(fresh)


async def covered(conn: AsyncConnection[Any], source: str) -> int:
    """How many events of the source are here, as entries or as dead: equals the checkpoint, or something was lost."""
    row = await (await conn.execute(_COVERED, {"source": source})).fetchone()
    return 0 if row is None else int(row[0])


async def _unknown(conn: AsyncConnection[Any], entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
    """A rebuild meets entries that are there already: they keep the positions they were given first."""
    span = (entries[0].source, entries[0].source_position, entries[-1].source_position)
    known = {(row[0], row[1]) for row in await (await conn.execute(_KNOWN, span)).fetchall()}
    return [entry for entry in entries if (entry.source_position, entry.index) not in known] if known else entries


async def _widen_hours(conn: AsyncConnection[Any], entries: Sequence[AuditEntry], first: int) -> None:
    spans: dict[datetime, tuple[int, int]] = {}
    for position, entry in enumerate(entries, start=first):
        hour = entry.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        spans[hour] = (spans[hour][0] if hour in spans else position, position)
    ordered = sorted(spans.items())
    columns = ([hour for hour, _ in ordered], [span[0] for _, span in ordered], [span[1] for _, span in ordered])
    await conn.execute(_SPAN, columns)


def _row(position: int, entry: AuditEntry) -> tuple[object, ...]:
    target_id, target_name = _target(entry.target_id)
    actor = entry.actor
    return (
        position,
        entry.source_position,
        entry.at,
        entry.correlation_id,
        entry.trace_id or None,
        entry.command_id,
        target_id,
        entry.source,
        entry.action,
        entry.count,
        entry.index,
        entry.refused,
        _storable(actor.id),
        actor.kind,
        _storable(entry.target_type),
        _storable(entry.before),
        _storable(entry.after),
        actor.role,
        _storable(actor.origin),
        _storable(target_name),
        _storable(entry.code),
        _storable(entry.reason),
    )


def _target(target_id: str | None) -> tuple[str | None, str | None]:
    """Ids are kept as UUIDs, in 16 bytes; what a refused request had instead of one as the text it is."""
    return (target_id, None) if target_id is None or is_uuid(target_id) else (None, target_id)


def _storable(text: str | None) -> str | None:
    """Postgres keeps no NUL and no half of a surrogate pair: show that something was there."""
    if text is None or (text.isprintable() and text.isascii()):
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
