"""What a finished job leaves on disk: row, events, audit, outcome, all with indexes, after a vacuum."""

from typing import Any

import psycopg

from jobplane.worker.producer import NewJob, Producer
from tests.bench.raw import Readings
from tests.bench.site import Scale, Site, finished, projected, worker
from tests.bench.streams import size
from tests.support import invariants
from tests.support.platform import Platform
from tests.support.waiting import eventually

_QUEUE = "bench-bytes"
_SIZES = (
    "SELECT schemaname || '.' || relname, pg_total_relation_size(relid) FROM pg_stat_user_tables "
    "WHERE schemaname IN ('jobs', 'audit', 'health', 'gateway')"
)


async def _sizes(platform: Platform, conn: psycopg.Connection[Any]) -> dict[str, int]:
    """The database, each table, and the stream of events, which is a bounded copy and no part of the total."""
    conn.execute("VACUUM")
    rows = conn.execute(_SIZES).fetchall()
    whole = conn.execute("SELECT pg_database_size(current_database())").fetchone()
    assert whole is not None
    return {"total": whole[0], "stream": await size(platform)} | {row[0]: row[1] for row in rows}


async def per_job(site: Site, scale: Scale) -> Readings:
    """A small payload, no result, tuned worker, on a platform of its own."""
    count = scale.of(20_000, 2000)
    with site.fresh_platform() as platform, invariants.connect(platform) as conn:
        with worker(platform, _QUEUE, concurrency=256):
            before = await _sizes(platform, conn)
            async with Producer.connect(platform.producer_url, name="bench") as producer:
                jobs = [NewJob(kind="bench.noop", payload={"n": n}, queue=_QUEUE) for n in range(count)]
                await producer.enqueue_many(jobs, timeout_s=120)
            await eventually(lambda: finished(conn, _QUEUE) >= count and projected(conn), timeout=120)
        after = await _sizes(platform, conn)
    grown = {name: (size - before.get(name, 0)) / count for name, size in after.items()}
    return {f"bytes.{name}": value for name, value in grown.items() if value >= 1}
