"""I6: the AuditLog has exactly one entry for each event up to its checkpoint, and its own positions are gapless."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

from jobplane.cli.verify.sources import STREAMS, Sources, pages
from jobplane.cli.verify.verdict import Tally

_STATE: Final[LiteralString] = """
SELECT coalesce((SELECT position FROM checkpoint WHERE name = 'audit.' || %(stream)s), 0),
    (SELECT halted FROM checkpoint WHERE name = 'audit.' || %(stream)s)
"""
_END: Final[LiteralString] = "SELECT position FROM audit_head"
# A chunk of a bulk operation has an entry for each job.
_ENTRIES_OF_EVENT: Final[LiteralString] = """
CASE WHEN type = 'operation.jobs_changed.v1' THEN json_array_length(data -> 'items') ELSE 1 END
"""
# Hashes of the columns that both sides copy; equal sums over a page are equal pages, without moving its rows.
_OF_EVENTS: Final[LiteralString] = f"""
SELECT count(*), coalesce(sum(hashtextextended(
    concat_ws('|', pos, coalesce(command_id::text, '-'), correlation_id, at, {_ENTRIES_OF_EVENT}), 0
)), 0)
FROM event
WHERE pos > %(low)s AND pos <= %(high)s
"""  # noqa: S608 - constants
_OF_ENTRIES: Final[LiteralString] = """
SELECT count(*), coalesce(sum(hashtextextended(
    concat_ws('|', source_position, coalesce(command_id::text, '-'), correlation_id, at, n), 0
)), 0)
FROM (
    SELECT source_position, command_id, correlation_id, at, count(*) AS n FROM audit_log
    WHERE source = %(stream)s::audit_source AND source_position > %(low)s AND source_position <= %(high)s
    GROUP BY source_position, command_id, correlation_id, at
) AS entry
"""
_EVENTS: Final[LiteralString] = f"""
SELECT pos, coalesce(command_id::text, '-'), correlation_id, at, {_ENTRIES_OF_EVENT} FROM event
WHERE pos > %(low)s AND pos <= %(high)s
"""  # noqa: S608 - constants
_ENTRIES: Final[LiteralString] = """
SELECT source_position, coalesce(command_id::text, '-'), correlation_id, at, count(*) FROM audit_log
WHERE source = %(stream)s::audit_source AND source_position > %(low)s AND source_position <= %(high)s
GROUP BY source_position, command_id, correlation_id, at
"""
_DEAD: Final[LiteralString] = """
SELECT position FROM dead_event WHERE stream = %(stream)s::text AND position > %(low)s AND position <= %(high)s
"""
_OWN: Final[LiteralString] = "SELECT count(*) FROM audit_log WHERE position > %(low)s AND position <= %(high)s"

_LOST: Final = "The AuditLog is not evidence for this event: restore its schema from a backup, and let it catch up."
_FORGED: Final = "Somebody else than the audit service wrote here: find out who may, and compare with a backup."
_HALTED: Final = "Its stream lacks what comes next: see 'a projection is halted' in docs/operations.md."


async def check(sources: Sources, tally: Tally) -> None:
    """Compare the AuditLog with both journals, up to its checkpoints."""
    for service, stream in STREAMS.items():
        async with sources.snapshot("audit") as conn:
            row = await (await conn.execute(_STATE, {"stream": stream})).fetchone()
        reached, halted = row or (0, None)
        if halted is not None:
            tally.violation(f"the audit log stands still: {halted}", f"{service} position {reached}", _HALTED)
        low, high = sources.span(service)
        high = max(low, min(high, reached))
        tally.expect(high - low)
        if reached < sources.heads[service].position:
            tally.note(f"{service}: {sources.heads[service].position - reached} events are not in the audit log yet")
        for start, end in pages(low, high):
            await _page(sources, tally, service, {"stream": stream, "low": start, "high": end})
            tally.advance(end - start)
    if sources.start is None:
        await _own_positions(sources, tally)


async def _page(sources: Sources, tally: Tally, service: str, span: dict[str, Any]) -> None:
    async with sources.snapshot(service) as journal:
        events = await (await journal.execute(_OF_EVENTS, span)).fetchone()
    async with sources.snapshot("audit") as log:
        entries = await (await log.execute(_OF_ENTRIES, span)).fetchone()
    if events == entries:
        return
    async with sources.snapshot(service) as journal:
        told = await (await journal.execute(_EVENTS, span)).fetchall()
    async with sources.snapshot("audit") as log:
        kept = await (await log.execute(_ENTRIES, span)).fetchall()
        dead = {row[0] for row in await (await log.execute(_DEAD, span)).fetchall()}
    head = sources.heads[service]
    judge(tally, service, told, kept, dead, earlier=head.first if head.epoch > 1 else 0)
    if dead:
        tally.note(f"{service}: {len(dead)} events could not be read and are in the dead-letter queue")


def judge(
    tally: Tally,
    service: str,
    told: Sequence[Sequence[Any]],
    kept: Sequence[Sequence[Any]],
    dead: set[int],
    *,
    earlier: int = 0,
) -> None:
    """Tell what differs between the events and the entries of a page, by position.

    Below `earlier`, where an epoch ended, the old stream may have had other events than the journal.
    """
    events = {row[0]: tuple(row) for row in told}
    entries = {row[0]: tuple(row) for row in kept}
    left = 0
    for position in sorted(events.keys() | entries.keys()):
        where = f"{service} position {position}"
        event, entry = events.get(position), entries.get(position)
        if event == entry or (entry is None and position in dead):
            continue
        if position < earlier:
            left += 1
        elif entry is None:
            tally.violation("the event is not in the audit log", where, _LOST)
        elif event is None:
            tally.violation("the audit log has an entry without an event", where, _FORGED)
        else:
            tally.violation("the entry in the audit log differs from its event", where, _FORGED)
    if left:
        tally.note(f"{service}: {left} positions of earlier epochs differ between journal and audit log")


async def _own_positions(sources: Sources, tally: Tally) -> None:
    async with sources.snapshot("audit") as conn:
        row = await (await conn.execute(_END)).fetchone()
    for low, high in pages(0, row[0] if row else 0, 100_000):
        async with sources.snapshot("audit") as conn:
            count = await (await conn.execute(_OWN, {"low": low, "high": high})).fetchone()
        if count != (high - low,):
            missing = high - low - (count[0] if count else 0)
            tally.violation(f"{missing} entries are missing", f"audit positions {low + 1} to {high}", _FORGED)
