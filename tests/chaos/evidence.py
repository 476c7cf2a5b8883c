"""Reads what a platform has: journals, streams, rows and audit, with plain SQL and plain JetStream.

Nothing here is shared with the services: what they do wrong must not be done wrong here too.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import nats
import nats.errors
import psycopg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from psycopg.rows import dict_row

Row = dict[str, Any]

SCHEMAS: Final = {"EVT_JOBS": "jobs", "EVT_ADMIN": "gateway"}
_EVENTS: Final = """
SELECT pos, stream_id::text, version, type, id::text, command_id::text, actor::text, reason, correlation_id::text,
    traceparent, at, data::text FROM {schema}.event ORDER BY pos
"""
_ITEMS: Final = """
SELECT c.operation_id::text AS operation, item.job, item.code, item.version, item.position
FROM jobs.plan_chunk AS c, unnest(c.job_ids::text[], c.codes, c.versions, c.positions)
    WITH ORDINALITY AS item (job, code, version, position, n)
ORDER BY c.operation_id, c.number, item.n
"""
_READ_S: Final = 20.0
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream."""

    sequence: int
    subject: str
    headers: dict[str, str]
    data: str


@dataclass(slots=True)
class Journal:
    """One journal, and its stream as it was read back from the bus."""

    events: list[Row] = field(default_factory=list)
    position: int = 0
    first_position: int = 1
    epoch: int = 1
    halted: str | None = None
    messages: list[Message] = field(default_factory=list)
    first_sequence: int = 1
    last_sequence: int = 0


@dataclass(slots=True)
class Evidence:
    """Everything the checker looks at."""

    journals: dict[str, Journal]
    """By stream."""
    jobs: dict[str, Row]
    """Job rows by id."""
    counts: dict[tuple[str, str], int]
    """The maintained counters: (queue, status) → jobs."""
    outcomes: dict[str, Row]
    """What became of each command, by its id."""
    audit: list[Row]
    """The AuditLog in its own order."""
    dead_events: int
    """Events that audit could not read."""
    bodies: dict[str, str]
    """Erasable bodies: reference → text."""
    now: datetime
    """The database's clock."""
    failed_now: dict[str, int] = field(default_factory=dict)
    """How many jobs error groups say are FAILED: fingerprint → jobs, where there are any."""
    operations: dict[str, Row] = field(default_factory=dict)
    """Bulk operations by id."""
    items: list[Row] = field(default_factory=list)
    """What became of each job of each of them, in their order."""
    controls: dict[str, Row] = field(default_factory=dict)
    """How queues and kinds are controlled: `queue:name` or `kind:name` → row."""


def gather(database_url: str, nats_url: str) -> Evidence:
    """Read everything; the platform should rest."""
    with psycopg.connect(database_url, row_factory=dict_row, autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = on")
        with conn.transaction():
            conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            evidence = _from_database(conn)
    asyncio.run(_from_bus(nats_url, evidence.journals))
    return evidence


def _from_database(conn: psycopg.Connection[Row]) -> Evidence:
    return Evidence(
        journals={stream: _journal(conn, schema) for stream, schema in SCHEMAS.items()},
        jobs={row["id"]: row for row in _rows(conn, "SELECT job.*, id::text AS id FROM jobs.job")},
        counts={
            (row["queue"], row["status"]): row["n"]
            for row in _rows(conn, "SELECT queue, status, n FROM jobs.job_count WHERE n <> 0")
        },
        outcomes={
            row["command_id"]: row
            for row in _rows(
                conn,
                "SELECT command_id::text, status, code, job_id::text, position FROM jobs.command_outcome",
            )
        },
        audit=_rows(
            conn,
            "SELECT position, source::text, source_position, index, at, action::text, actor_id, command_id::text, "
            "target_id::text, before, after, refused, count FROM audit.audit_log ORDER BY position",
        ),
        dead_events=_one(conn, "SELECT count(*) AS n FROM audit.dead_event")["n"],
        bodies={
            row["ref"]: row["text"]
            for row in _rows(conn, "SELECT ref::text, convert_from(data, 'utf8') AS text FROM jobs.body")
        },
        now=_one(conn, "SELECT clock_timestamp() AS now")["now"],
        failed_now={
            row["fingerprint"]: row["failed_now"]
            for row in _rows(conn, "SELECT fingerprint, failed_now FROM jobs.error_group WHERE failed_now <> 0")
        },
        operations={
            row["id"]: row
            for row in _rows(
                conn, "SELECT id::text, action, status, version, total, done, codes, undo_of::text FROM jobs.operation"
            )
        },
        items=_rows(conn, _ITEMS),
        controls={
            row["key"]: row for row in _rows(conn, "SELECT key, version, paused, limits FROM jobs.queue_control")
        },
    )


def _journal(conn: psycopg.Connection[Row], schema: str) -> Journal:
    head = _one(conn, f"SELECT * FROM {schema}.journal_head")
    return Journal(
        events=_rows(conn, _EVENTS.format(schema=schema)),
        position=head["pos"],
        first_position=head["first_pos"],
        epoch=head["epoch"],
        halted=head["halted"],
    )


async def _from_bus(url: str, journals: dict[str, Journal]) -> None:
    client = await nats.connect(url, connect_timeout=5, max_reconnect_attempts=3)
    try:
        async with asyncio.timeout(_READ_S):
            for stream, journal in journals.items():
                await _read_stream(client.jetstream(), stream, journal)
    finally:
        await client.close()


async def _read_stream(js: Any, stream: str, journal: Journal) -> None:
    state = (await js.stream_info(stream)).state
    journal.first_sequence, journal.last_sequence = state.first_seq, state.last_seq
    if state.messages == 0:
        return
    config = ConsumerConfig(ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL)
    reader = await js.pull_subscribe(">", stream=stream, config=config)
    while not journal.messages or journal.messages[-1].sequence < journal.last_sequence:
        with contextlib.suppress(nats.errors.TimeoutError):
            journal.messages += [_message(found) for found in await reader.fetch(_AT_ONCE, timeout=1)]
    await reader.unsubscribe()


def _message(found: Any) -> Message:
    return Message(found.metadata.sequence.stream, found.subject, dict(found.headers or {}), found.data.decode())


def _rows(conn: psycopg.Connection[Row], query: str) -> list[Row]:
    return conn.execute(query.encode()).fetchall()


def _one(conn: psycopg.Connection[Row], query: str) -> Row:
    row = conn.execute(query.encode()).fetchone()
    assert row is not None, f"no row: {query}"
    return row
