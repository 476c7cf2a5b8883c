"""I1: every position of a journal is there, from the first that is retained to its head."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from jobplane.cli.verify.sources import STREAMS, Head, Sources, pages
from jobplane.cli.verify.verdict import Tally

_PAGE: Final = 100_000
_COUNT: Final[LiteralString] = "SELECT count(*) FROM event WHERE pos > %(low)s AND pos <= %(high)s"
_GAPS: Final[LiteralString] = """
SELECT before + 1, pos - 1 FROM (
    SELECT pos, lag(pos, 1, %(low)s) OVER (ORDER BY pos) AS before FROM (
        SELECT pos FROM event WHERE pos > %(low)s AND pos <= %(high)s UNION ALL SELECT %(high)s::bigint + 1
    ) AS given
) AS steps WHERE pos > before + 1 ORDER BY 1
"""
_AHEAD: Final[LiteralString] = """
SELECT count(*), min(event.pos) FROM event, journal_head WHERE event.pos > journal_head.pos
"""

_LOST = "Events are missing: stop writing, compare with a backup, and restore the journal from it."

Gap = tuple[int, int]
"""First and last missing position."""


async def check(sources: Sources, tally: Tally) -> None:
    """Look at both journals."""
    for service in STREAMS:
        low, high = sources.span(service)
        tally.expect(high - low)
    for service in STREAMS:
        await _journal(sources, tally, service)


async def _journal(sources: Sources, tally: Tally, service: str) -> None:
    gaps: list[Gap] = []
    for low, high in pages(*sources.span(service), _PAGE):
        async with sources.snapshot(service) as conn:
            gaps += await _missing(conn, low, high)
        tally.advance(high - low)
    judge(tally, service, sources.heads[service], joined(gaps))
    async with sources.snapshot(service) as conn:
        ahead = await (await conn.execute(_AHEAD)).fetchone()
    if ahead is not None and ahead[0]:
        what = f"{ahead[0]} events are behind the head of the journal"
        advice = "Something wrote events without taking positions: find out who may write there, and restore the head."
        tally.violation(what, f"{service} position {ahead[1]}", advice)


async def _missing(conn: AsyncConnection[Any], low: int, high: int) -> Sequence[Gap]:
    span = {"low": low, "high": high}
    row = await (await conn.execute(_COUNT, span)).fetchone()
    if row == (high - low,):
        return []
    return [(first, last) for first, last in await (await conn.execute(_GAPS, span)).fetchall()]


def joined(gaps: Iterable[Gap]) -> list[Gap]:
    """The same gaps, with those made one that only the end of a page divided."""
    whole: list[Gap] = []
    for first, last in gaps:
        if whole and whole[-1][1] + 1 == first:
            whole[-1] = (whole[-1][0], last)
        else:
            whole.append((first, last))
    return whole


def judge(tally: Tally, service: str, head: Head, gaps: Sequence[Gap]) -> None:
    """Tell the gaps that are violations from those that opening an epoch left: one for each, below its first position.

    Only the last epoch tells where it began.
    """
    others = head.epoch - 2
    for first, last in gaps:
        if head.epoch > 1 and last == head.first - 1:
            tally.note(
                f"{service}: positions {first} to {last} were never given, epoch {head.epoch} begins behind them"
            )
        elif last < head.first and others > 0:
            others -= 1
            tally.note(f"{service}: positions {first} to {last} were never given, an earlier epoch begins behind them")
        else:
            many = f"{last - first + 1} positions are missing" if last > first else "a position is missing"
            tally.violation(many, f"{service} position {first}" + (f" to {last}" if last > first else ""), _LOST)
