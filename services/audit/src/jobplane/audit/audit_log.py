"""The AuditLog in Postgres: entries are added in order of their events, each once."""

from collections.abc import Sequence
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

# Gives out positions and notes the hours they belong to, in one question; nothing where the span is partly known.
_TAKE: Final[LiteralString] = """
WITH taken AS (
    UPDATE audit_head SET position = position + %(wanted)s
    WHERE %(again)s OR NOT EXISTS (
        SELECT FROM audit_log WHERE source = %(source)s AND source_position BETWEEN %(first)s AND %(last)s
    )
    RETURNING position - %(wanted)s + 1 AS first_position
), noted AS (
    INSERT INTO audit_hour (hour, first_position, last_position)
    SELECT hour, first_position + low, first_position + high
    FROM taken, unnest(%(hours)s::timestamptz[], %(lows)s::bigint[], %(highs)s::bigint[]) AS span (hour, low, high)
    ON CONFLICT (hour) DO UPDATE
    SET first_position = least(audit_hour.first_position, excluded.first_position),
        last_position = greatest(audit_hour.last_position, excluded.last_position)
)
SELECT first_position FROM taken
"""

_KNOWN: Final[LiteralString] = """
SELECT source_position, index FROM audit_log
WHERE source = %(source)s AND source_position BETWEEN %(first)s AND %(last)s
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
    first = await _take(conn, entries)
    if first is None:
        entries = await _unknown(conn, entries)
        first = await _take(conn, entries, again=True) if entries else None
    if first is None:
        return 0
    lines = [_line(position, entry) for position, entry in enumerate(entries, start=first)]
    async with conn.cursor() as copying, copying.copy(_COPY) as copy:
        await copy.write("".join(lines))
    return len(entries)


async def covered(conn: AsyncConnection[Any], source: str) -> int:
    """How many events of the source are here, as entries or as dead: equals the checkpoint, or something was lost."""
    row = await (await conn.execute(_COVERED, {"source": source})).fetchone()
    return 0 if row is None else int(row[0])


async def _take(conn: AsyncConnection[Any], entries: Sequence[AuditEntry], *, again: bool = False) -> int | None:
    """The first of as many positions as there are entries; none if some are known, unless it is asked `again`."""
    spans = sorted(_hours(entries).items())
    parameters = {
        **_span(entries),
        "wanted": len(entries),
        "again": again,
        "hours": [hour for hour, _ in spans],
        "lows": [span[0] for _, span in spans],
        "highs": [span[1] for _, span in spans],
    }
    row = await (await conn.execute(_TAKE, parameters)).fetchone()
    return None if row is None else int(row[0])


async def _unknown(conn: AsyncConnection[Any], entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
    """A rebuild meets entries that are there already: they keep the positions they were given first."""
    known = {(row[0], row[1]) for row in await (await conn.execute(_KNOWN, _span(entries))).fetchall()}
    return [entry for entry in entries if (entry.source_position, entry.number) not in known]


def _span(entries: Sequence[AuditEntry]) -> dict[str, object]:
    return {"source": entries[0].source, "first": entries[0].source_position, "last": entries[-1].source_position}


def _hours(entries: Sequence[AuditEntry]) -> dict[datetime, tuple[int, int]]:
    """By hour: the numbers of its first and its last entry among these."""
    spans: dict[datetime, tuple[int, int]] = {}
    hour = end = _NEVER
    for number, entry in enumerate(entries):
        if not hour <= entry.at < end:
            hour = entry.at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            end = hour + _HOUR
        spans[hour] = (spans[hour][0] if hour in spans else number, number)
    return spans


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
