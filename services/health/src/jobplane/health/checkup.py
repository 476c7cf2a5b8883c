"""The checkup: runs the probes, judges what they say, and remembers the latest report."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis.bus import Connection
from jobplane.contracts.fleet import DetailedHealth, MinuteRate
from jobplane.health import fleet, fleet_measures, history, report
from jobplane.health.probes import Probes
from jobplane.health.standing import Standings
from jobplane.health.subscribers import Listener

log = structlog.get_logger()

FRESH_FOR: Final = timedelta(seconds=2)
"""So many callers may ask at once, the servers are probed only this often."""
MAX_WORKERS: Final = 400
"""So many are told one by one: more would not fit into a message. The check counts all."""
_READ_S: Final = 0.7  # with the probes' time limit less than the two seconds that a caller waits


class Checkup:
    """Gives the detailed health, at most two seconds old."""

    def __init__(self, pool: AsyncConnectionPool, nc: Connection, listener: Listener) -> None:
        self._pool = pool
        self._probes = Probes(pool, nc)
        self._standings = Standings(pool)
        self._listener = listener
        self._listening_since = clock.now()
        self._one_at_a_time = asyncio.Lock()
        self._latest: DetailedHealth | None = None

    async def run_once(self) -> DetailedHealth:
        """Look at everything now."""
        async with self._one_at_a_time:
            return await self._look()

    async def latest(self) -> DetailedHealth:
        """The latest report, or a new one if that is older than two seconds."""
        async with self._one_at_a_time:
            if self._latest is not None and clock.now() - self._latest.generated_at <= FRESH_FOR:
                return self._latest
            return await self._look()

    async def _look(self) -> DetailedHealth:
        measured = await self._probes.measure()
        now = clock.now()
        known = self._listener.fleet
        measured += fleet_measures.measure(known, now, self._listening_since, self._probes.heads.at)
        verdicts = [report.judge(measurement) for measurement in measured]
        standings, throughput = await asyncio.gather(self._standings.after(verdicts, now), self._throughput(now))
        checks = report.checks(verdicts, standings)
        processes = fleet.processes(known, now)
        self._latest = DetailedHealth(
            status=report.worst(checks),
            generated_at=now,
            services=[one for one in processes if one.kind != fleet.WORKER],
            workers=fleet.most_worrying((one for one in processes if one.kind == fleet.WORKER), MAX_WORKERS),
            checks=checks,
            throughput=throughput,
        )
        return self._latest

    async def _throughput(self, now: datetime) -> list[MinuteRate]:
        """Empty while the database is away: `postgres.latency` says so."""
        try:
            async with asyncio.timeout(_READ_S), self._pool.connection() as conn:
                return await history.last_hour(conn, now)
        except (psycopg.Error, TimeoutError) as error:
            log.warning("throughput.unread", reason=type(error).__name__)
            return []
