"""Oban's Python edition on PostgreSQL, through psycopg; done jobs stay in their table until they are pruned."""

import asyncio
import time
from typing import Any

import oban
from oban import schema

from tests.bench.peers.driving import Where, batches, started

_LIMIT, _TUNED_LIMIT = 10, 200
_UNFINISHED = "SELECT count(*) FROM oban_jobs WHERE state IN ('available', 'executing', 'scheduled', 'retryable')"
_TABLE = "SELECT to_regclass('oban_jobs') IS NOT NULL"


class _Noop:
    """Nothing."""

    async def process(self, _job: Any) -> None:
        """Nothing."""


class _Started:
    """Tells when it started."""

    async def process(self, _job: Any) -> None:
        """Tell."""
        started()


Noop: Any = oban.worker(queue="default")(_Noop)
Started: Any = oban.worker(queue="default")(_Started)


class Peer:
    """See `driving.Peer`."""

    async def open(self, where: Where) -> None:
        """Connect; whoever comes first makes the tables."""
        self._pool: Any = await oban.Oban.create_pool(where.database, max_size=10)
        async with self._pool.connection() as conn:
            there = (await (await conn.execute(_TABLE)).fetchone())[0]
        if not there:
            await schema.install(self._pool)
        self._oban: Any = oban.Oban(pool=self._pool)

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.close()

    async def enqueue(self, count: int) -> None:
        """In batches of 1,000."""
        for size in batches(count):
            await self._oban.enqueue_many(Noop.new() for _ in range(size))

    async def enqueue_one(self) -> None:
        """One."""
        await self._oban.enqueue(Started.new())

    async def unfinished(self) -> int:
        """What waits or runs."""
        async with self._pool.connection() as conn:
            return int((await (await conn.execute(_UNFINISHED)).fetchone())[0])

    async def bulk(self, count: int) -> dict[str, float]:
        """Cancels waiting jobs, then retries them."""
        jobs: list[Any] = []
        for size in batches(count):
            jobs += await self._oban.enqueue_many(Noop.new() for _ in range(size))
        began = time.perf_counter()
        await self._oban.cancel_many_jobs(jobs)
        cancelled = time.perf_counter()
        await self._oban.retry_many_jobs(jobs)
        return {"cancel": cancelled - began, "retry": time.perf_counter() - cancelled}

    async def work(self, *, tuned: bool) -> None:
        """With the limit of 10 that its documentation begins with."""
        running: Any = oban.Oban(pool=self._pool, queues={"default": _TUNED_LIMIT if tuned else _LIMIT})
        await running.start()
        await asyncio.Event().wait()
