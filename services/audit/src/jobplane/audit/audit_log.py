"""The AuditLog in Postgres: entries are added in order of their events, each once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from jobplane.audit.entry import AuditEntry, is_uuid
from jobplane.contracts.actors import Actor

_COPY: Final[LiteralString] = """
COPY audit_log (
    position, source_position, at, correlation_id, trace_id, command_id, target_id, source, action, count, index,
    refused, actor_id, actor_kind, target_type, before, after, actor_role, actor_origin, target_name, code, reason,
    operation_id, command
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

_NOTE_LATE: Final[LiteralString] = """
INSERT INTO audit_late (position, at) SELECT * FROM unnest(%(positions)s::bigint[], %(instants)s::timestamptz[])
"""

_COVERED: Final[LiteralString] = """
SELECT (SELECT count(DISTINCT source_position) FROM audit_log WHERE source = %(source)s::audit_source)
     + (SELECT count(*) FROM dead_event WHERE stream = %(source)s::text)
"""

_NULL: Final = r"\N"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\0": "\ufffd"})
_HOUR: Final = timedelta(hours=1)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


async def append(conn: AsyncConnection[Any], entries: Sequence[AuditEntry], *, late: bool = False) -> int:
    """Add entries of one source, in order, in the caller's transaction; returns how many were new.

    What the log has already stays as it is, so adding an entry again changes nothing. Those whose time may be long over
    are `late`, and noted one by one: as positions of their hour they would make a search of that hour walk through all
    that was recorded since.
    """
    if not entries:
        return 0
    first = await _take(conn, entries, late=late)
    if first is None:
        entries = await _unknown(conn, entries)
        first = await _take(conn, entries, late=late, again=True) if entries else None
    if first is None:
        return 0
    lines = [_line(position, entry) for position, entry in enumerate(entries, start=first)]
    async with conn.cursor() as copying, copying.copy(_COPY) as copy:
        await copy.write("".join(lines))
    if late:
        positions = list(range(first, first + len(entries)))
        await conn.execute(_NOTE_LATE, {"positions": positions, "instants": [entry.at for entry in entries]})
    return len(entries)


async def covered(conn: AsyncConnection[Any], source: str) -> int:
    """How many events of the source are here, as entries or as dead: equals the checkpoint, or something was lost."""
    row = await (await conn.execute(_COVERED, {"source": source})).fetchone()
    return 0 if row is None else int(row[0])


async def _take(
    conn: AsyncConnection[Any], entries: Sequence[AuditEntry], *, late: bool, again: bool = False
) -> int | None:
    """The first of as many positions as there are entries; none if some are known, unless it is asked `again`."""
    spans = [] if late else sorted(_hours(entries).items())
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
    (
        source,
        source_position,
        number,
        at,
        action,
        actor,
        reason,
        target_type,
        target,
        before,
        after,
        refused,
        code,
        command_id,
        correlation_id,
        trace_id,
        times,
        operation_id,
        command,
    ) = entry
    # Ids are kept as UUIDs, in 16 bytes; what a refused request had instead of one as the text it is.
    target_id, target_name = (target or _NULL, _NULL) if target is None or is_uuid(target) else (_NULL, _text(target))
    who, role = _actor(actor)
    return (
        f"{position}\t{source_position}\t{_instant(at)}\t{correlation_id}\t{trace_id or _NULL}\t"
        f"{command_id or _NULL}\t{target_id}\t{source}\t{action}\t{times}\t{number}\t{'t' if refused else 'f'}\t"
        f"{who}\t{_text(target_type)}\t{_text(before)}\t{_text(after)}\t{role}\t{target_name}\t{_text(code)}\t"
        f"{_text(reason)}\t{operation_id or _NULL}\t{_text(command)}\n"
    )


@lru_cache(maxsize=1024)
def _actor(actor: Actor) -> tuple[str, str]:
    """Id and kind, role and origin: a few act again and again."""
    return f"{_text(actor.id)}\t{actor.kind}", f"{actor.role or _NULL}\t{_text(actor.origin)}"


@lru_cache(maxsize=256)
def _instant(at: datetime) -> str:
    """Events of one transaction share theirs."""
    return at.isoformat()


@lru_cache(maxsize=1024)
def _text(text: str | None) -> str:
    """Text as COPY reads it; Postgres keeps no NUL and no half of a surrogate pair: show that something was there."""
    if text is None:
        return _NULL
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode()
