"""The AuditLog in Postgres: entries are added in order of their events, each once."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from jobplane.audit.entry import AuditEntry, is_uuid

_COPY: Final[LiteralString] = """
COPY audit_log (
    position, source_position, at, correlation_id, trace_id, command_id, target_id, source, action, count, index,
    refused, actor_id, actor_kind, target_type, before, after, actor_role, actor_origin, target_name, code, reason
) FROM STDIN
"""

# Positions are given out only where nothing of the span is known, so that an ordinary batch asks once.
_TAKE_UNLESS_KNOWN: Final[LiteralString] = """
UPDATE audit_head SET position = position + %(wanted)s
WHERE NOT EXISTS (
    SELECT FROM audit_log WHERE source = %(source)s AND source_position BETWEEN %(first)s AND %(last)s
)
RETURNING position - %(wanted)s + 1
"""

_KNOWN: Final[LiteralString] = """
SELECT source_position, index FROM audit_log
WHERE source = %(source)s AND source_position BETWEEN %(first)s AND %(last)s
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

_NULL: Final = r"\N"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\0": "\ufffd"})
_HOUR: Final = timedelta(hours=1)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


async def append(conn: AsyncConnection[Any], entries: Sequence[AuditEntry]) -> int:
    """Add entries of one source, in order, in the caller's transaction; returns how many were new.

    What the log has already stays as it is, so adding an entry again changes nothing.
    """
    if not entries:
        return 0
    span = {"source": entries[0].source, "first": entries[0].source_position, "last": entries[-1].source_position}
    first = await _first_of(conn, _TAKE_UNLESS_KNOWN, {**span, "wanted": len(entries)})
    if first is None:
        entries = await _unknown(conn, entries, span)
        if not entries:
            return 0
        first = await _first_of(conn, _TAKE, (len(entries), len(entries)))
    lines = [_line(position, entry) for position, entry in enumerate(entries, start=first or 1)]
    async with conn.cursor() as copying, copying.copy(_COPY) as copy:
        await copy.write("".join(lines))
    await _widen_hours(conn, entries, first or 1)
    return len(entries)


async def covered(conn: AsyncConnection[Any], source: str) -> int:
    """How many events of the source are here, as entries or as dead: equals the checkpoint, or something was lost."""
    row = await (await conn.execute(_COVERED, {"source": source})).fetchone()
    return 0 if row is None else int(row[0])


async def _first_of(
    conn: AsyncConnection[Any], take: LiteralString, parameters: Mapping[str, object] | Sequence[object]
) -> int | None:
    """The first of the positions that were taken; none if none were."""
    row = await (await conn.execute(take, parameters)).fetchone()
    return None if row is None else int(row[0])


async def _unknown(
    conn: AsyncConnection[Any], entries: Sequence[AuditEntry], span: Mapping[str, object]
) -> Sequence[AuditEntry]:
    """A rebuild meets entries that are there already: they keep the positions they were given first."""
    known = {(row[0], row[1]) for row in await (await conn.execute(_KNOWN, span)).fetchall()}
    return [entry for entry in entries if (entry.source_position, entry.number) not in known]


async def _widen_hours(conn: AsyncConnection[Any], entries: Sequence[AuditEntry], first: int) -> None:
    spans: dict[datetime, tuple[int, int]] = {}
    hour = end = _NEVER
    for position, entry in enumerate(entries, start=first):
        if not hour <= entry.at < end:
            hour = entry.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            end = hour + _HOUR
        spans[hour] = (spans[hour][0] if hour in spans else position, position)
    ordered = sorted(spans.items())
    columns = ([hour for hour, _ in ordered], [span[0] for _, span in ordered], [span[1] for _, span in ordered])
    await conn.execute(_SPAN, columns)


def _line(position: int, entry: AuditEntry) -> str:
    """The entry as COPY reads it: written here at once, which takes a fifth of what the driver's rows take."""
    target_id, target_name = _target(entry.target_id)
    actor = entry.actor
    return "\t".join(
        (
            str(position),
            str(entry.source_position),
            entry.at.isoformat(),
            entry.correlation_id,
            entry.trace_id or _NULL,
            entry.command_id or _NULL,
            target_id or _NULL,
            entry.source,
            entry.action,
            str(entry.times),
            str(entry.number),
            "t" if entry.refused else "f",
            _text(actor.id),
            actor.kind,
            _text(entry.target_type),
            _text(entry.before),
            _text(entry.after),
            actor.role or _NULL,
            _text(actor.origin),
            _text(target_name),
            _text(entry.code),
            _text(entry.reason) + "\n",
        )
    )


def _target(target_id: str | None) -> tuple[str | None, str | None]:
    """Ids are kept as UUIDs, in 16 bytes; what a refused request had instead of one as the text it is."""
    return (target_id, None) if target_id is None or is_uuid(target_id) else (None, target_id)


def _text(text: str | None) -> str:
    """Text as COPY reads it; Postgres keeps no NUL and no half of a surrogate pair: show that something was there."""
    if text is None:
        return _NULL
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode()
