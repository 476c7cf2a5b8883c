"""What happened per minute, kept as long as the stream keeps the events it was counted from."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection

from jobplane.contracts.fleet import MinuteRate, QueueActivity
from jobplane.contracts.topology import EVT_JOBS, stream
from jobplane.health.throughput import Cell, Counts, rate

KEPT: Final = stream(EVT_JOBS).max_age or timedelta(days=30)
_SHOWN: Final = timedelta(minutes=60)
_ACTIVITY: Final = timedelta(days=1)

_ADD: Final = """
INSERT INTO minute_rate (minute, queue, kind, created, started, completed, failed)
SELECT * FROM unnest(%s::timestamptz[], %s::text[], %s::text[], %s::int[], %s::int[], %s::int[], %s::int[])
ON CONFLICT (minute, queue, kind) DO UPDATE
SET created = minute_rate.created + excluded.created, started = minute_rate.started + excluded.started,
    completed = minute_rate.completed + excluded.completed, failed = minute_rate.failed + excluded.failed
"""

_LAST_HOUR: Final = """
SELECT minute, sum(created)::int, sum(started)::int, sum(completed)::int, sum(failed)::int
FROM minute_rate WHERE minute > %s GROUP BY minute ORDER BY minute
"""

_LAST_ACTIVITY: Final = """
SELECT queue, max(minute) FROM minute_rate
WHERE minute > %s AND started + completed + failed > 0 GROUP BY queue
"""


_BY_QUEUE: Final = """
SELECT queue, sum(started)::int, sum(completed)::int, sum(failed)::int
FROM minute_rate WHERE minute >= %s GROUP BY queue HAVING sum(started + completed + failed) > 0
"""


async def add(conn: AsyncConnection[Any], counts: Mapping[Cell, Counts]) -> None:
    """Add these counts to what is there, in the caller's transaction."""
    if not counts:
        return
    rows = [
        (*cell, found.created, found.started, found.completed, found.failed) for cell, found in sorted(counts.items())
    ]
    await conn.execute(_ADD, [list(column) for column in zip(*rows, strict=True)])


async def last_hour(conn: AsyncConnection[Any], now: datetime) -> list[MinuteRate]:
    """The last 60 minutes, oldest first, all queues and kinds together; minutes without events are left out."""
    rows = await (await conn.execute(_LAST_HOUR, (now - _SHOWN,))).fetchall()
    return [rate(row[0], Counts(*row[1:])) for row in rows]


async def last_activity(conn: AsyncConnection[Any], now: datetime) -> dict[str, datetime]:
    """By queue: the last minute in which a run started or ended; queues idle for a day are left out."""
    rows = await (await conn.execute(_LAST_ACTIVITY, (now - _ACTIVITY,))).fetchall()
    return {row[0]: row[1] for row in rows}


async def by_queue(conn: AsyncConnection[Any], since: datetime) -> dict[str, QueueActivity]:
    """What happened since the beginning of a minute, in the queues where something happened."""
    rows = await (await conn.execute(_BY_QUEUE, (since,))).fetchall()
    return {row[0]: QueueActivity(started=row[1], completed=row[2], failed=row[3]) for row in rows}


async def prune(conn: AsyncConnection[Any], now: datetime) -> int:
    """Remove what is older than the stream's events; returns how many rows."""
    return (await conn.execute("DELETE FROM minute_rate WHERE minute < %s", (now - KEPT,))).rowcount
