"""What this machine can do at most: the disk, the interpreter, and each server by itself."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from nats.aio.msg import Msg

from jobplane.chassis import bus as buses
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.local import ports, postgres
from jobplane.local.postgres import PostgresServer
from tests.bench.figures import percentile
from tests.bench.http_client import HttpClient
from tests.bench.machine import ROOT
from tests.bench.site import Scale, Site
from tests.support.servers import Bus
from tests.support.waiting import eventually

Readings = dict[str, float]
_BODY = b"x" * 600


@contextmanager
def durable_postgres(directory: Path) -> Iterator[PostgresServer]:
    """The embedded server with the platform's own settings."""
    server = postgres.start(directory / "pg", port=ports.free_port(), password="bench", log=directory / "pg.log")
    server.wait_ready()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def durable_bus(directory: Path) -> Iterator[Bus]:
    """The embedded nats-server with the platform's own settings."""
    server = Bus(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def disk_and_loop(site: Site, scale: Scale) -> Readings:
    """fdatasync, and an empty loop."""
    file = site.directory() / "fsync"
    times = []
    with file.open("wb") as opened:
        for _ in range(scale.of(300, 50)):
            opened.write(os.urandom(4096))
            opened.flush()
            began = time.perf_counter()
            os.fdatasync(opened.fileno())
            times.append(time.perf_counter() - began)
    turns = scale.of(10_000_000, 1_000_000)
    began = time.perf_counter()
    for _ in range(turns):
        pass
    loop = turns / (time.perf_counter() - began) / 1e6
    return {"raw.fsync": percentile(times, 0.5) * 1e6, "raw.python": loop}


async def database(site: Site, scale: Scale) -> Readings:
    """Single commits, COPY, and one UPDATE."""
    with durable_postgres(site.directory()) as server, psycopg.connect(server.url(), autocommit=True) as conn:
        conn.execute("CREATE TABLE t (id bigint PRIMARY KEY, at timestamptz DEFAULT now(), data text)")
        commits = scale.of(2000, 200)
        began = time.perf_counter()
        for number in range(commits):
            conn.execute("INSERT INTO t (id, data) VALUES (%s, %s)", (number, "x" * 200))
        single = commits / (time.perf_counter() - began)
        rows = scale.of(100_000, 5000)
        began = time.perf_counter()
        with conn.cursor().copy("COPY t (id, data) FROM STDIN") as copy:
            for number in range(rows):
                copy.write_row((commits + number, "x" * 200))
        copied = rows / (time.perf_counter() - began)
        return {
            "raw.postgres_commit": single,
            "raw.postgres_copy": copied,
            "raw.postgres_update": _updated(conn, scale),
        }


def _updated(conn: psycopg.Connection[Any], scale: Scale) -> float:
    """The least that a change of many jobs can be: one statement, the table's key and one index on what changes."""
    count = scale.of(10_000, 500)
    conn.execute("CREATE TABLE u (id uuid PRIMARY KEY, state text, data text)")
    conn.execute(
        "INSERT INTO u SELECT lpad(to_hex(n), 32, '0')::uuid, 'FAILED', repeat('x', 300) FROM generate_series(1, %s) n",
        (count,),
    )
    conn.execute("CREATE INDEX ON u (state, id)")
    conn.execute("VACUUM ANALYZE u")
    conn.execute("CHECKPOINT")
    began = time.perf_counter()
    conn.execute("UPDATE u SET state = 'PENDING' WHERE state = 'FAILED'")
    return count / (time.perf_counter() - began)


async def bus(site: Site, scale: Scale) -> Readings:
    """Request and reply, single publishes, atomic batches."""
    with durable_bus(site.directory()) as server:
        async with _connected(server) as (nc, other):

            async def echo(message: Msg) -> None:
                await other.publish(message.reply, b"")

            await other.subscribe("echo", cb=echo)
            await other.flush()
            times = []
            for _ in range(scale.of(2000, 200)):
                began = time.perf_counter()
                await nc.request("echo", b"")
                times.append(time.perf_counter() - began)
            config = {"name": "RAW", "subjects": ["raw.*"], "allow_atomic": True}
            answer = json.loads((await nc.request("$JS.API.STREAM.CREATE.RAW", json.dumps(config).encode())).data)
            assert "error" not in answer, answer
            singles = scale.of(2000, 200)
            began = time.perf_counter()
            for _ in range(singles):
                await nc.request("raw.one", _BODY)
            single = singles / (time.perf_counter() - began)
            batches = scale.of(30, 3)
            began = time.perf_counter()
            for _ in range(batches):
                await _publish_batch(nc)
            batch = 1000 * batches / (time.perf_counter() - began)
    return {
        "raw.nats_request": percentile(times, 0.5) * 1e3,
        "raw.jetstream_publish": single,
        "raw.jetstream_batch": batch,
    }


@asynccontextmanager
async def _connected(server: Bus) -> AsyncIterator[tuple[Connection, Connection]]:
    first, second = [await buses.connect(server.url("test"), user="test", name=name) for name in ("a", "b")]
    try:
        yield first, second
    finally:
        await buses.close(first)
        await buses.close(second)


async def _publish_batch(nc: Connection) -> None:
    name = new_id()
    for number in range(1, 1000):
        place = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
        await nc.publish("raw.batch", _BODY, headers=place)
    last = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": "1000", "Nats-Batch-Commit": "1"}
    answer = json.loads((await nc.request("raw.batch", _BODY, timeout=10, headers=last)).data)
    assert answer.get("count") == 1000, answer


async def http(_site: Site, scale: Scale) -> Readings:
    """The web framework alone, in a process of its own."""
    port = ports.free_port()
    command = ["-m", "uvicorn", "tests.bench.bare_api:app", "--port", str(port), "--log-level", "critical"]
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=ROOT)
    try:
        await eventually(lambda: ports.answers(port), timeout=15)
        client = await HttpClient.connect(f"http://127.0.0.1:{port}")
        times = []
        for _ in range(scale.of(2000, 200)):
            began = time.perf_counter()
            status, _ = await client.post("/echo", b'{"kind": "bench.noop", "payload": {"n": 1}}')
            times.append(time.perf_counter() - began)
            assert status == 200
        await client.close()
    finally:
        process.terminate()
        await process.wait()
    return {"raw.http": percentile(times, 0.5) * 1e3}
