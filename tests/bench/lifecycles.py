"""Whole lives of jobs through one worker process: enqueued, leased, run, completed, relayed, audited."""

import asyncio
import time
from typing import Any

import psycopg

from jobplane.chassis import bus as buses
from jobplane.worker.producer import EnqueuedJob, NewJob, Producer
from tests.bench.figures import percentile
from tests.bench.http_client import HttpClient
from tests.bench.raw import Readings
from tests.bench.site import Cpu, Scale, Site, bus_url, finished, position, projected, worker
from tests.bench.streams import reaches
from tests.support import invariants
from tests.support.waiting import eventually

TUNED_CONCURRENCY = 512
_PATIENCE_S = 150
_ASLEEP = "UPDATE jobs.search_progress SET position = 2::bigint ^ 62"
"""As far as the index knows there is nothing to do."""
_AWAKE = "UPDATE jobs.search_progress SET position = (SELECT pos FROM jobs.journal_head)"
_CAUGHT_UP = "SELECT position >= pos FROM jobs.search_progress, jobs.journal_head"


async def default(site: Site, scale: Scale) -> Readings:
    """As everything is without a word: 8 slots."""
    return await _lifecycles(site, scale, "default", None)


async def tuned(site: Site, scale: Scale) -> Readings:
    """The same with 512 slots, which is what short asynchronous jobs want."""
    return await _lifecycles(site, scale, "tuned", TUNED_CONCURRENCY)


async def indexed(site: Site, scale: Scale) -> Readings:
    """The same lives while the index of the search sleeps, and while it follows, one right after the other."""
    rates: dict[str, float] = {}
    with invariants.connect(site.platform) as conn:
        await eventually(lambda: _caught_up(conn), timeout=_PATIENCE_S)
        for name, wanted in (("asleep", _ASLEEP), ("following", _AWAKE)):
            conn.execute(wanted)
            found = await _lifecycles(site, scale, name, None)
            rates[name] = found[f"lifecycle.{name}.rate"]
        began = time.perf_counter()
        await eventually(lambda: _caught_up(conn), timeout=_PATIENCE_S)
        behind = time.perf_counter() - began
    return {
        "lifecycle.index.asleep": rates["asleep"],
        "lifecycle.index.following": rates["following"],
        "lifecycle.index.ratio": rates["following"] / rates["asleep"],
        "lifecycle.index.behind": behind,
    }


def _caught_up(conn: psycopg.Connection[Any]) -> bool:
    row = conn.execute(_CAUGHT_UP).fetchone()
    return row is not None and bool(row[0])


async def _lifecycles(site: Site, scale: Scale, name: str, concurrency: int | None) -> Readings:
    """The clock runs from the first enqueue until relay, audit and health are where the journal ends."""
    platform = site.platform
    queue = f"bench-{name}"
    count = scale.of(20_000, 500)
    jobs = [NewJob(kind="bench.noop", payload={"n": number}, queue=queue) for number in range(count)]
    reader = await buses.connect(bus_url(platform, "audit-reader"), user="audit-reader", name="bench")
    with worker(platform, queue, concurrency=concurrency) as process, invariants.connect(platform) as conn:
        before = finished(conn, queue)
        cpu = Cpu(platform, worker=process)
        async with Producer.connect(platform.producer_url, name="bench") as producer:
            began = time.perf_counter()
            outcomes = await producer.enqueue_many(jobs, timeout_s=_PATIENCE_S)
            enqueued = time.perf_counter() - began
        assert all(isinstance(one, EnqueuedJob) for one in outcomes)
        await eventually(lambda: finished(conn, queue) - before >= count, timeout=_PATIENCE_S)
        completed = time.perf_counter() - began
        await eventually(lambda: projected(conn), timeout=_PATIENCE_S)
        await reaches(reader, position(conn))
        caught_up = time.perf_counter() - began
        used = cpu.used()
    await buses.close(reader)
    return {
        f"lifecycle.{name}.rate": count / caught_up,
        f"lifecycle.{name}.completed": count / completed,
        f"lifecycle.{name}.enqueued": count / enqueued,
    } | {f"lifecycle.{name}.cpu.{part}": spent / count * 1e3 for part, spent in used.items()}


async def start(site: Site, scale: Scale) -> Readings:
    """From the wish to the first line of the handler, one at a time."""
    platform = site.platform
    count = scale.of(200, 20)
    client = await HttpClient.connect(platform.url, platform.token())
    by_producer: list[tuple[str, int]] = []
    by_rest: list[tuple[str, int]] = []
    with worker(platform, "bench-start"):
        async with Producer.connect(platform.producer_url, name="bench") as producer:
            for _ in range(count):
                began = time.monotonic_ns()
                made = await producer.enqueue("bench.started", queue="bench-start")
                by_producer.append((made.id, began))
                await asyncio.sleep(0.01)
        for _ in range(count):
            began = time.monotonic_ns()
            _, body = await client.post("/api/admin/jobs", b'{"kind":"bench.started","queue":"bench-start"}')
            at = body.index(b'"id":"') + 6
            by_rest.append((body[at : at + 36].decode(), began))
            await asyncio.sleep(0.01)
        found: Readings = {}
        for how, asked in (("producer", by_producer), ("rest", by_rest)):
            waits = [(await _started(client, job) - began) / 1e6 for job, began in asked[count // 10 :]]
            found |= {f"start.{how}.p50": percentile(waits, 0.5), f"start.{how}.p99": percentile(waits, 0.99)}
    await client.close()
    return found


async def _started(client: HttpClient, job: str) -> int:
    async def result() -> int | None:
        told = await client.get(f"/api/admin/jobs/{job}")
        return int(told["result"]) if told["status"] == "COMPLETED" else None

    return await eventually(result)
