"""One reading of everything that could grow: processes, tables, lags, connections."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Final

import psutil
import psycopg

from jobplane.chassis.bus import Connection
from tests.support.platform import Platform

Reading = dict[str, float]
"""By name; the beginning of a name says what it is."""

_MB: Final = 1e6
_TABLES: Final = """
SELECT schemaname || '.' || relname, pg_total_relation_size(relid), n_dead_tup FROM pg_stat_user_tables
WHERE pg_total_relation_size(relid) > 1000000 OR n_dead_tup > 100
"""
_POSITIONS: Final = """
SELECT (SELECT pos FROM jobs.journal_head),
    (SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_JOBS'),
    (SELECT position FROM health.checkpoint WHERE name = 'health.EVT_JOBS')
"""
_CONNECTIONS: Final = "SELECT application_name, count(*) FROM pg_stat_activity WHERE datname = 'jobplane' GROUP BY 1"


async def read(platform: Platform, worker: psutil.Process, conn: psycopg.Connection[Any], nc: Connection) -> Reading:
    """Take one reading; clients in this process go on meanwhile."""
    return await asyncio.to_thread(_seen, platform, worker, conn) | await _lags(conn, nc)


def _seen(platform: Platform, worker: psutil.Process, conn: psycopg.Connection[Any]) -> Reading:
    found: Reading = {}
    for name, process in _processes(platform, worker):
        try:
            memory, files = process.memory_full_info(), process.num_fds()
        except psutil.NoSuchProcess:
            continue
        for what, value in (("memory", memory.pss / _MB), ("rss", memory.rss / _MB), ("files", files)):
            found[f"{what} {name}"] = found.get(f"{what} {name}", 0.0) + value
    for table, size, dead in conn.execute(_TABLES).fetchall():
        found |= {f"size {table}": size / _MB, f"dead {table}": dead}
    return found | {f"connections {name}": number for name, number in conn.execute(_CONNECTIONS).fetchall()}


async def _lags(conn: psycopg.Connection[Any], nc: Connection) -> Reading:
    told = json.loads((await nc.request("$JS.API.STREAM.INFO.EVT_JOBS", b"", timeout=5)).data)
    relayed = 0 if "error" in told else int(told["state"]["last_seq"])
    row = conn.execute(_POSITIONS).fetchone()
    assert row is not None
    head, audit, health = row
    return {
        "position": head,
        "lag relay": max(0, head - relayed),
        "lag audit": head - audit,
        "lag health": head - health,
    }


def _processes(platform: Platform, worker: psutil.Process) -> Iterator[tuple[str, psutil.Process]]:
    """All backends of PostgreSQL count as one."""
    top = psutil.Process(platform.process.pid)
    yield "up", top
    yield "worker", worker
    for child in top.children(recursive=True):
        try:
            name = child.name().removeprefix("jp-")
        except psutil.NoSuchProcess:
            continue
        yield name, child


def series(readings: list[tuple[float, Reading]], name: str) -> tuple[list[float], list[float]]:
    """Times and values of one name, where it was read."""
    found = [(at, reading[name]) for at, reading in readings if name in reading]
    return [at for at, _ in found], [value for _, value in found]
