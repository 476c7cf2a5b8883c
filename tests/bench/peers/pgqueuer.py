"""pgqueuer on PostgreSQL, through asyncpg; done jobs leave the queue table for its log."""

import time
from typing import Any

import asyncpg
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgDriver

from tests.bench.peers.driving import Where, batches, started

_TUNED_BATCH = 500
_CANCELLED_AT_ONCE = 500


class Peer:
    """See `driving.Peer`."""

    async def open(self, where: Where) -> None:
        """Connect; whoever comes first makes the tables."""
        self._conn: Any = await asyncpg.connect(where.database)
        self._driver = AsyncpgDriver(self._conn)
        self._queries = Queries(self._driver)
        if not await self._queries.has_table("pgqueuer"):
            await self._queries.install()

    async def close(self) -> None:
        """Disconnect."""
        await self._conn.close()

    async def enqueue(self, count: int) -> None:
        """In batches of 1,000."""
        for size in batches(count):
            await self._queries.enqueue(["noop"] * size, [None] * size, [0] * size)

    async def enqueue_one(self) -> None:
        """One."""
        await self._queries.enqueue("started", None)

    async def unfinished(self) -> int:
        """What is still in the queue."""
        return int(await self._conn.fetchval("SELECT count(*) FROM pgqueuer"))

    async def bulk(self, count: int) -> dict[str, float]:
        """Retries failed jobs, then cancels them: 500 at a time, more do not fit into its notification."""
        ids: list[Any] = []
        for size in batches(count):
            ids += await self._queries.enqueue(["noop"] * size, [None] * size, [0] * size)
        fail = self._queries.qbq.build_log_job_query()
        await self._driver.execute(fail, ids, ["failed"] * count, [None] * count)
        began = time.perf_counter()
        await self._queries.requeue_jobs(ids)
        retried = time.perf_counter()
        for at in range(0, count, _CANCELLED_AT_ONCE):
            await self._queries.mark_job_as_cancelled(ids[at : at + _CANCELLED_AT_ONCE])
        return {"retry": retried - began, "cancel": time.perf_counter() - retried}

    async def work(self, *, tuned: bool) -> None:
        """By default it takes 10 at a time."""
        pgq = PgQueuer(self._driver)
        pgq.entrypoint("noop")(_noop)
        pgq.entrypoint("started")(_tell)
        await pgq.run(batch_size=_TUNED_BATCH) if tuned else await pgq.run()


async def _noop(_job: Any) -> None:
    pass


async def _tell(_job: Any) -> None:
    started()
