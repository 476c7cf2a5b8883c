"""What must be true of a whole platform whatever happened to it.

It is read from the database and the bus, not asked of the services.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from jobplane.chassis import bus as buses
from jobplane.chassis.reader import StreamReader
from tests.support.platform import Platform

_EVENTS = {
    "EVT_JOBS": "SELECT pos, id::text, type, stream_id::text, data::text FROM jobs.event ORDER BY pos",
    "EVT_ADMIN": "SELECT pos, id::text, type, stream_id::text, data::text FROM gateway.event ORDER BY pos",
}


@dataclass(slots=True)
class Journal:
    """One journal, and its stream as it was read back from the bus."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    messages: list[tuple[int, dict[str, str] | None, bytes]] = field(default_factory=list)


def connect(platform: Platform) -> psycopg.Connection[Any]:
    """The platform's database as its superuser, so that every schema can be read."""
    known = json.loads((platform.data / "credentials.json").read_text())
    return psycopg.connect(
        host="127.0.0.1",
        port=known["ports"]["postgres"],
        user="postgres",
        password=known["postgres_password"],
        dbname="jobplane",
        autocommit=True,
    )


def settled(platform: Platform) -> bool:
    """Whether no job waits or runs, and audit has read both streams to their end."""
    with connect(platform) as conn:
        open_jobs = conn.execute("SELECT count(*) FROM jobs.job WHERE status IN ('PENDING', 'RUNNING')").fetchone()
        heads = conn.execute(
            "SELECT (SELECT pos FROM jobs.journal_head), (SELECT pos FROM gateway.journal_head)"
        ).fetchone()
        read = conn.execute("SELECT position FROM audit.checkpoint ORDER BY name DESC").fetchall()
    assert open_jobs == (0,), f"{open_jobs} jobs are not finished"
    assert heads == tuple(row[0] for row in read), f"journals are at {heads}, audit has read {read}"
    return True


def check(platform: Platform) -> None:
    """Every invariant; the platform must be settled."""
    with connect(platform) as conn:
        for stream, query in _EVENTS.items():
            rows = conn.execute(query).fetchall()
            journal = Journal(rows, asyncio.run(_read(platform, stream, len(rows))))
            _positions_are_gapless(journal)
            _bus_equals_journal(journal)
            _audit_is_complete(conn, stream, rows)
        _audit_is_contiguous(conn)
        _counters_equal_a_recount(conn)
        _one_accepted_outcome_per_run(conn)
        _rows_are_where_their_events_end(conn)


async def _read(platform: Platform, stream: str, count: int) -> list[tuple[int, dict[str, str] | None, bytes]]:
    known = json.loads((platform.data / "credentials.json").read_text())
    url = f"nats://audit-reader:{known['nats_users']['audit-reader']}@127.0.0.1:{known['ports']['nats']}"
    nc = await buses.connect(url, user="audit-reader", name="invariants")
    reader = StreamReader(nc, stream, 1)
    found: list[tuple[int, dict[str, str] | None, bytes]] = []
    try:
        async with asyncio.timeout(20):
            async for batch in reader.batches():
                found += batch
                if len(found) >= count:
                    break
    finally:
        await reader.close()
        await buses.close(nc)
    return found


def _positions_are_gapless(journal: Journal) -> None:
    assert [row[0] for row in journal.rows] == list(range(1, len(journal.rows) + 1))


def _bus_equals_journal(journal: Journal) -> None:
    """No event is doubled or missing, and each has its position as sequence, byte for byte."""
    told = [(seq, (headers or {}).get("ce-id"), data.decode()) for seq, headers, data in journal.messages]
    assert told == [(row[0], row[1], row[4]) for row in journal.rows]


def _audit_is_complete(conn: psycopg.Connection[Any], stream: str, rows: Sequence[tuple[Any, ...]]) -> None:
    query = "SELECT DISTINCT source_position FROM audit.audit_log WHERE source = %s ORDER BY 1"
    audited = [row[0] for row in conn.execute(query, (stream,)).fetchall()]
    assert audited == [row[0] for row in rows]


def _audit_is_contiguous(conn: psycopg.Connection[Any]) -> None:
    positions = [row[0] for row in conn.execute("SELECT position FROM audit.audit_log ORDER BY 1").fetchall()]
    assert positions == list(range(1, len(positions) + 1))


def _counters_equal_a_recount(conn: psycopg.Connection[Any]) -> None:
    kept = conn.execute("SELECT queue, status, n FROM jobs.job_count WHERE n <> 0 ORDER BY 1, 2").fetchall()
    assert kept == conn.execute("SELECT queue, status, count(*) FROM jobs.job GROUP BY 1, 2 ORDER BY 1, 2").fetchall()


def _one_accepted_outcome_per_run(conn: psycopg.Connection[Any]) -> None:
    ends = conn.execute(
        "SELECT stream_id::text, data ->> 'run' FROM jobs.event "
        "WHERE type IN ('job.completed.v1', 'job.failed.v1', 'job.orphaned.v1', 'job.released.v1')"
    ).fetchall()
    assert [run for run, times in Counter(ends).items() if times > 1] == []


def _rows_are_where_their_events_end(conn: psycopg.Connection[Any]) -> None:
    wrong = conn.execute(
        "SELECT job.id FROM jobs.job JOIN LATERAL (SELECT version, pos, data ->> 'after' AS after FROM jobs.event "
        "WHERE stream_id = job.id UNION ALL SELECT (item ->> 'version')::int, pos, "
        "coalesce(item ->> 'after', data -> 'shared' ->> 'after') FROM jobs.event, "
        "json_array_elements(data -> 'items') AS item WHERE pos = ANY(job.bulk_positions) "
        "AND item ->> 'job' = job.id::text ORDER BY version DESC LIMIT 1) AS last ON true "
        "WHERE (job.version, job.position, job.status) IS DISTINCT FROM (last.version, last.pos, last.after)"
    ).fetchall()
    assert wrong == []
