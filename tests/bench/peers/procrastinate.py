"""procrastinate on PostgreSQL, through psycopg; done jobs stay in their table with their events."""

import time
from typing import Any

import procrastinate
from procrastinate.exceptions import ConnectorException

from tests.bench.peers.driving import Where, batches, started

_TUNED_CONCURRENCY = 32
_TENTH = 10
_UNFINISHED = "SELECT count(*) AS n FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
_TABLE = "SELECT to_regclass('procrastinate_jobs') IS NOT NULL AS there"


class Peer:
    """See `driving.Peer`."""

    async def open(self, where: Where) -> None:
        """Connect; whoever comes first makes the tables."""
        self._app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=where.database))
        await self._app.open_async()
        if not (await self._app.connector.execute_query_one_async(_TABLE))["there"]:
            await self._app.schema_manager.apply_schema_async()
        self._noop: Any = self._app.task(name="noop")(_noop)
        self._started: Any = self._app.task(name="started")(_tell)

    async def close(self) -> None:
        """Disconnect."""
        await self._app.close_async()

    async def enqueue(self, count: int) -> None:
        """In batches of 1,000."""
        for size in batches(count):
            await self._noop.batch_defer_async(*([{}] * size))

    async def enqueue_one(self) -> None:
        """One."""
        await self._started.defer_async()

    async def unfinished(self) -> int:
        """What waits or runs."""
        try:
            return int((await self._app.connector.execute_query_one_async(_UNFINISHED))["n"])
        except ConnectorException:
            return -1

    async def bulk(self, count: int) -> dict[str, float]:
        """It cancels one at a time, and retries only what a worker holds: a tenth of them is enough to know."""
        jobs: list[int] = []
        for size in batches(count):
            jobs += await self._noop.batch_defer_async(*([{}] * size))
        began = time.perf_counter()
        for job in jobs[::_TENTH]:
            await self._app.job_manager.cancel_job_by_id_async(job)
        return {"cancel": _TENTH * (time.perf_counter() - began)}

    async def work(self, *, tuned: bool) -> None:
        """By default it runs one job at a time."""
        await self._app.run_worker_async(concurrency=_TUNED_CONCURRENCY if tuned else 1)


async def _noop() -> None:
    pass


async def _tell() -> None:
    started()
