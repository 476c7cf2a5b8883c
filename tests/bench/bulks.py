"""Bulk operations over HTTP: until answered, until each job is in its new state, until each is in the audit log."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final, cast

import psycopg

from jobplane.worker.producer import EnqueuedJob, NewJob, Producer
from tests.bench.figures import percentile
from tests.bench.http_client import HttpClient
from tests.bench.raw import Readings
from tests.bench.site import Cpu, Scale, Site, in_status, projected, worker
from tests.support import invariants
from tests.support.platform import Platform
from tests.support.waiting import eventually

_PATIENCE_S: Final = 150
_FAILING_AT_ONCE: Final = 256
_LOOK_S: Final = 0.005
"""What it waits for is asked so often: a row by its key, which costs little."""
_DONE: Final = "SELECT status = 'done', done, codes::text FROM jobs.operation WHERE id = %s"
_AUDITED: Final = """
SELECT (SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_JOBS') >= (SELECT pos FROM jobs.journal_head)
"""
_ENTRIES: Final = "SELECT count(*) FROM audit.audit_log WHERE action = %s"


async def retry(site: Site, scale: Scale) -> Readings:
    """Of jobs that failed."""
    platform = site.platform
    queue, count = _fresh_queue(), scale.of(10_000, 100)
    jobs = await _made(platform, count, "bench.failing", queue)
    with worker(platform, queue, concurrency=_FAILING_AT_ONCE), invariants.connect(platform) as conn:
        await eventually(lambda: in_status(conn, "FAILED", queue) >= count, timeout=_PATIENCE_S)
    return await _measured(platform, "retry", "JOB_RETRY", jobs)


async def cancel(site: Site, scale: Scale) -> Readings:
    """Of jobs that wait."""
    jobs = await _made(site.platform, scale.of(10_000, 100), "bench.parked", _fresh_queue())
    return await _measured(site.platform, "cancel", "JOB_CANCELLED", jobs)


async def beside(site: Site, scale: Scale) -> Readings:
    """Single commands, one after the other, while many jobs are cancelled."""
    platform, queue = site.platform, _fresh_queue()
    await _made(platform, scale.of(40_000, 500), "bench.parked", queue)
    client = await HttpClient.connect(platform.url, platform.token())
    took: list[float] = []
    with invariants.connect(platform) as conn:
        body = {"action": "cancel", "filter": f"queue:{queue} status:pending", "reason": "a measurement"}
        operation = await _asked(client, body)
        while not took or not _over(conn, operation):
            began = time.perf_counter()
            status, told = await client.post("/api/admin/jobs", b'{"kind":"bench.parked","queue":"parked"}')
            assert status == 201, told
            took.append((time.perf_counter() - began) * 1e3)
        await eventually(lambda: projected(conn), timeout=_PATIENCE_S)
    await client.close()
    return {"bulk.beside.p50": percentile(took, 0.5), "bulk.beside.p99": percentile(took, 0.99)}


async def _made(platform: Platform, count: int, kind: str, queue: str) -> list[str]:
    """The ids of so many new jobs, once relay, audit and health have seen them."""
    async with Producer.connect(platform.producer_url, name="bench") as producer:
        jobs = [NewJob(kind=kind, payload={"n": n}, queue=queue, max_attempts=1) for n in range(count)]
        made = await producer.enqueue_many(jobs, timeout_s=_PATIENCE_S)
    assert all(isinstance(one, EnqueuedJob) for one in made)
    with invariants.connect(platform) as conn:
        await eventually(lambda: projected(conn), timeout=_PATIENCE_S)
    return [one.id for one in cast("list[EnqueuedJob]", made)]


async def _measured(platform: Platform, action: str, audited_as: str, jobs: list[str]) -> Readings:
    client = await HttpClient.connect(platform.url, platform.token())
    with invariants.connect(platform) as conn:
        await eventually(lambda: projected(conn), timeout=_PATIENCE_S)
        entries = _number(conn, _ENTRIES, audited_as)
        cpu = Cpu(platform)
        began = time.perf_counter()
        operation = await _asked(client, {"action": action, "ids": jobs, "reason": "a measurement"})
        answered = time.perf_counter() - began
        await _soon(lambda: _over(conn, operation, of=len(jobs)))
        visible = time.perf_counter() - began
        await _soon(lambda: bool(_number(conn, _AUDITED)))
        audited = time.perf_counter() - began
        used = cpu.used()
        assert _number(conn, _ENTRIES, audited_as) == entries + len(jobs)
    await client.close()
    rates = {"answered": answered, "visible": visible, "audited": audited}
    return {f"bulk.{action}.{name}": len(jobs) / seconds for name, seconds in rates.items()} | {
        f"bulk.cpu.{action}.{name}": spent / len(jobs) * 1e7 for name, spent in used.items()
    }


async def _soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(_LOOK_S)


def _fresh_queue() -> str:
    return f"bench-bulk-{time.monotonic_ns()}"


async def _asked(client: HttpClient, body: dict[str, Any]) -> str:
    status, told = await client.post("/api/admin/jobs/bulk", json.dumps(body).encode())
    assert status == 202, told
    operation: str = json.loads(told)["id"]
    return operation


def _over(conn: psycopg.Connection[Any], operation: str, of: int | None = None) -> bool:
    row = conn.execute(_DONE, (operation,)).fetchone()
    assert row is not None
    assert of is None or not row[0] or row[1] == of, row
    return bool(row[0])


def _number(conn: psycopg.Connection[Any], query: str, *parameters: str) -> int:
    row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0] or 0)
