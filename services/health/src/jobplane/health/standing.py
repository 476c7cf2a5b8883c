"""Since when each check is as it is: kept in a small table, so that restarts and replicas tell the same."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.fleet import CheckStatus
from jobplane.health.report import Standing, Verdict, stand

log = structlog.get_logger()

_READ_S: Final = 0.7

_WRITE: Final = """
INSERT INTO check_standing (name, status, since)
SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[])
ON CONFLICT (name) DO UPDATE SET status = excluded.status, since = excluded.since
WHERE check_standing.status <> excluded.status
"""


class Standings:
    """The standing of every check; while the database is away, what was known last is carried on in memory."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._last: Mapping[str, Standing] = {}

    async def after(self, verdicts: Sequence[Verdict], now: datetime) -> Mapping[str, Standing]:
        """The standings after these verdicts; what changed is written down, checks that are gone are forgotten."""
        try:
            async with asyncio.timeout(_READ_S), self._pool.connection() as conn:
                before = await _read(conn)
                # what changed while the database was away is known here only
                standings = stand(verdicts, {**before, **self._changed_meanwhile(before)}, now)
                await _write(conn, before, standings)
        except (psycopg.Error, TimeoutError) as error:
            log.warning("standing.unsaved", reason=type(error).__name__)
            standings = stand(verdicts, self._last, now)
        self._last = standings
        return standings

    def _changed_meanwhile(self, before: Mapping[str, Standing]) -> dict[str, Standing]:
        return {
            name: known for name, known in self._last.items() if name not in before or known.since > before[name].since
        }


async def _read(conn: AsyncConnection[Any]) -> dict[str, Standing]:
    rows = await (await conn.execute("SELECT name, status, since FROM check_standing")).fetchall()
    return {row[0]: Standing(CheckStatus(row[1]), row[2]) for row in rows}


async def _write(conn: AsyncConnection[Any], before: Mapping[str, Standing], after: Mapping[str, Standing]) -> None:
    gone = before.keys() - after.keys()
    if gone:
        await conn.execute("DELETE FROM check_standing WHERE name = ANY(%s)", (sorted(gone),))
    changed = sorted((name, now.status, now.since) for name, now in after.items() if before.get(name) != now)
    if changed:
        await conn.execute(_WRITE, [list(column) for column in zip(*changed, strict=True)])
