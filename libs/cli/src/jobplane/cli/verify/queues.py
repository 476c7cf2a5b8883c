"""I9, first half: every queue and kind is paused and limited as its events say."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from jobplane.cli.verify.sources import Sources, pages
from jobplane.cli.verify.verdict import Tally

_STREAMS: Final[LiteralString] = """
SELECT DISTINCT stream_id FROM event WHERE pos > %(low)s AND pos <= %(high)s AND type LIKE 'queue.%%'
"""
_EVENTS: Final[LiteralString] = """
SELECT version, type, data::text FROM event
WHERE stream_id = ANY(%(streams)s::uuid[]) AND type LIKE 'queue.%%' ORDER BY stream_id, version
"""
_ROWS: Final[LiteralString] = "SELECT key, version, paused::text, limits::text FROM queue_control"

_ADVICE: Final = (
    "Jobs start, or do not, against what the events say: stop the jobs service and correct the row in queue_control "
    "after them, or pause, resume or limit it once more."
)


@dataclass(frozen=True, slots=True)
class Held:
    """How a queue or a kind is controlled, as far as its events alone tell it."""

    version: int = 0
    paused: bool = False
    drain: bool = False
    concurrency: int | None = None
    rate: tuple[int, int, int] | None = None
    """Starts, seconds, burst."""


async def check(sources: Sources, tally: Tally) -> None:
    """Find whose events there are, then compare these with all rows, in one snapshot."""
    low, high = sources.span("jobs")
    tally.expect(high - low)
    streams: set[str] = set()
    for start, end in pages(low, high):
        async with sources.snapshot("jobs") as conn:
            found = await (await conn.execute(_STREAMS, {"low": start, "high": end})).fetchall()
        streams.update(str(row[0]) for row in found)
        tally.advance(end - start)
    async with sources.snapshot("jobs") as conn:
        events = await (await conn.execute(_EVENTS, {"streams": sorted(streams)})).fetchall()
        rows = await (await conn.execute(_ROWS)).fetchall()
    whole = sources.start is None and sources.heads["jobs"].lowest <= 1
    judge(tally, rows, events, whole=whole)


def judge(tally: Tally, rows: Iterable[Sequence[Any]], events: Iterable[tuple[int, str, str]], *, whole: bool) -> None:
    """Tell what differs; where not all events were looked for, a row without any is not judged."""
    kept = {key: held(version, paused, limits) for key, version, paused, limits in rows}
    told: dict[str, Held] = {}
    for version, event_type, data in events:
        body = json.loads(data)
        key = f"kind:{body['kind']}" if body.get("kind") else f"queue:{body.get('queue')}"
        told[key] = after(told.get(key, Held()), version, event_type, body)
    for key in sorted(kept.keys() | told.keys()):
        sort, _, name = key.partition(":")
        where = f"{sort} {name}"
        if key not in kept:
            tally.violation("it was controlled, but has no row", where, _ADVICE)
        elif key in told and kept[key] != told[key]:
            tally.violation(_difference(kept[key], told[key]), where, _ADVICE)
        elif key not in told and whole:
            tally.violation("it has a row, but was never controlled", where, _ADVICE)


def held(version: int, paused: str | None, limits: str | None) -> Held:
    """What a row says."""
    pause, limit = json.loads(paused or "null"), json.loads(limits or "{}")
    return Held(
        version, pause is not None, bool((pause or {}).get("drain")), limit.get("concurrency"), _rate(limit.get("rate"))
    )


def after(before: Held, version: int, event_type: str, body: dict[str, Any]) -> Held:
    """What is so after one more event."""
    concurrency, rate = before.concurrency, before.rate
    match event_type:
        case "queue.paused.v1":
            return Held(version, True, bool(body.get("drain")), concurrency, rate)
        case "queue.resumed.v1":
            return Held(version, False, False, concurrency, rate)
        case _:
            limits = body["after"]
            return Held(version, before.paused, before.drain, limits.get("concurrency"), _rate(limits.get("rate")))


def _rate(told: dict[str, int] | None) -> tuple[int, int, int] | None:
    return None if told is None else (told["starts"], told.get("every_s", 1), told.get("burst", 1))


def _difference(kept: Held, told: Held) -> str:
    if kept.version != told.version:
        return f"version is {kept.version}, its events say {told.version}"
    return f"it is {_shown(kept)}, its events say {_shown(told)}"


def _shown(one: Held) -> str:
    state = "draining" if one.drain else "paused" if one.paused else "active"
    starts = "" if one.rate is None else f", {one.rate[0]} starts in {one.rate[1]} s with bursts of {one.rate[2]}"
    return f"{state}, at most {one.concurrency} at once{starts}" if one.concurrency else state + starts
