"""The AuditLog keeps every entry once, in order and for ever."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from jobplane.audit import audit_log, search
from jobplane.audit.entry import AUDITED, AuditEntry, entry
from jobplane.contracts.actors import worker
from jobplane.contracts.audit import AuditAction, AuditQuery
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.job_events import CommandRefused
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from tests.support.events import lifecycles, login, record, split
from tests.support.servers import Database


def entries(events: Sequence[EventRecord], source: str = EVT_JOBS) -> list[AuditEntry]:
    return [entry(event, source) for event in events]


async def add(pool: AsyncConnectionPool, *batches: Sequence[EventRecord], source: str = EVT_JOBS) -> int:
    added = 0
    for batch in batches:
        async with pool.connection() as conn, conn.transaction():
            added += await audit_log.append(conn, entries(batch, source))
    return added


async def rows(pool: AsyncConnectionPool) -> list[tuple[Any, ...]]:
    async with pool.connection() as conn:
        return await (await conn.execute("SELECT * FROM audit_log ORDER BY position")).fetchall()


def empty(database: Database) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as conn:
        conn.execute("TRUNCATE audit.audit_log, audit.audit_hour, audit.audit_late")
        conn.execute("UPDATE audit.audit_head SET position = 0")


EVENTS = lifecycles(8)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 10), max_size=8), again=st.integers(0, 7))
async def test_any_batches_and_any_redelivery_give_the_same_log(
    pool: AsyncConnectionPool, database: Database, sizes: list[int], again: int
) -> None:
    empty(database)
    await add(pool, EVENTS)
    at_once = await rows(pool)
    empty(database)
    batches = split(EVENTS, sizes)
    await add(pool, *batches)
    await add(pool, *batches[again % len(batches) :])
    assert await rows(pool) == at_once
    assert [row[0] for row in at_once] == list(range(1, len(EVENTS) + 1))


async def test_a_batch_that_is_partly_known_adds_only_the_rest(pool: AsyncConnectionPool) -> None:
    assert await add(pool, EVENTS[:5]) == 5
    assert await add(pool, EVENTS[:9]) == 4
    assert [row[0] for row in await rows(pool)] == list(range(1, 10))


async def test_a_rolled_back_batch_gives_its_positions_back(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as conn, conn.transaction(force_rollback=True):
        assert await audit_log.append(conn, entries(EVENTS[:3])) == 3
    await add(pool, EVENTS[:3])
    assert [row[0] for row in await rows(pool)] == [1, 2, 3]


async def test_two_sources_share_one_gapless_order(pool: AsyncConnectionPool) -> None:
    await add(pool, EVENTS[:3])
    await add(pool, [login(1), login(2)], source=EVT_ADMIN)
    await add(pool, EVENTS[3:6])
    async with pool.connection() as conn:
        page = await search.page(conn, AuditQuery())
    assert [(item.position, item.source, item.source_position) for item in page.items] == [
        (8, EVT_JOBS, 6),
        (7, EVT_JOBS, 5),
        (6, EVT_JOBS, 4),
        (5, EVT_ADMIN, 2),
        (4, EVT_ADMIN, 1),
        (3, EVT_JOBS, 3),
        (2, EVT_JOBS, 2),
        (1, EVT_JOBS, 1),
    ]


async def test_an_entry_comes_back_as_it_was_told(pool: AsyncConnectionPool) -> None:
    refused = CommandRefused(command="retry", code="job_not_failed", target_id="not-a-uuid", status="RUNNING", count=3)
    told = record(1, refused, reason="Grüße, 世界\t\0", command_id="019aa000-0000-7000-8000-0000000000c1")
    await add(pool, [told])
    async with pool.connection() as conn:
        (item,) = (await search.page(conn, AuditQuery())).items
    assert (item.at, item.outcome, item.code, item.count) == (told.at, "refused", "job_not_failed", 3)
    assert (item.target.type, item.target.id, item.before, item.after) == ("job", "not-a-uuid", "RUNNING", "RUNNING")
    assert (item.command_id, item.correlation_id, item.trace_id) == (
        told.command_id,
        told.correlation_id,
        told.trace_id,
    )
    assert (item.actor.id, item.actor.kind, item.actor.role) == (told.actor.id, "user", "ADMIN")
    assert item.reason == "Grüße, 世界\t\ufffd"


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_log SET reason = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"]
)
async def test_the_service_cannot_change_what_it_wrote(pool: AsyncConnectionPool, statement: str) -> None:
    await add(pool, EVENTS[:1])
    async with pool.connection() as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute(statement)


async def test_an_ordinary_job_takes_little_room(pool: AsyncConnectionPool) -> None:
    jobs = 2_000
    await add(pool, lifecycles(jobs))
    async with pool.connection() as conn:
        row = await (await conn.execute("SELECT pg_total_relation_size('audit_log')")).fetchone()
    assert row is not None
    assert row[0] / jobs < 1_200, "bytes of its three entries with their indexes"


async def test_the_database_knows_every_source_and_action(pool: AsyncConnectionPool) -> None:
    async with pool.connection() as conn:
        sources = await (await conn.execute("SELECT unnest(enum_range(NULL::audit_source))")).fetchall()
        actions = await (await conn.execute("SELECT unnest(enum_range(NULL::audit_action))")).fetchall()
    assert {row[0] for row in sources} == set(AUDITED)
    assert {row[0] for row in actions} == set(AuditAction)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=30) | st.sampled_from(["\\N", "\\.", "a\\", "\r\n", "\\t\t", "\ud800", ""]))
async def test_any_text_comes_back_as_it_was_or_shows_that_something_was_there(
    pool: AsyncConnectionPool, database: Database, text: str
) -> None:
    empty(database)
    await add(pool, [replace(EVENTS[0], reason=text, actor=worker(f"w{text}"))])
    async with pool.connection() as conn:
        (item,) = (await search.page(conn, AuditQuery())).items
    kept = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    assert (item.reason, item.actor.id) == (kept, f"w{kept}")
