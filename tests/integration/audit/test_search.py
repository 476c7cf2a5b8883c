"""Pages of the AuditLog: filters compose, cursors neither skip nor repeat, and every page comes from an index."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL
from psycopg_pool import AsyncConnectionPool

from jobplane.audit import audit_log, search
from jobplane.audit.entry import entry
from jobplane.contracts.audit import AuditAction, AuditItem, AuditQuery
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import Refused
from jobplane.contracts.job_events import CommandRefused
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS, MAX_MESSAGE_BYTES
from tests.support.events import ADMIN, NOON, lifecycles, login, record
from tests.support.servers import Database

Filter = Callable[[AuditItem], bool]

OPERATION = "019aa000-0000-7000-8000-0000000000b1"
JOBS = [replace(event, operation_id=OPERATION if n % 9 == 2 else None) for n, event in enumerate(lifecycles(40))]
LATER = NOON + timedelta(hours=3)
REFUSAL = record(len(JOBS) + 1, CommandRefused(command="retry", code="job_not_failed", target_id="odd id"), at=LATER)
LOGINS = [login(1), login(2, at=LATER + timedelta(minutes=59))]


async def add(pool: AsyncConnectionPool, events: list[EventRecord], source: str, *, late: bool = False) -> None:
    async with pool.connection() as conn, conn.transaction():
        await audit_log.append(conn, [entry(event, source) for event in events], late=late)


@pytest.fixture
async def log(pool: AsyncConnectionPool) -> AsyncConnectionPool:
    """The log with 40 jobs, a refusal and two logins."""
    await add(pool, LOGINS[:1], EVT_ADMIN)
    await add(pool, [*JOBS, REFUSAL], EVT_JOBS)
    await add(pool, LOGINS[1:], EVT_ADMIN)
    return pool


async def walk(pool: AsyncConnectionPool, query: AuditQuery) -> list[AuditItem]:
    """Every page, one after the other."""
    found: list[AuditItem] = []
    async with pool.connection() as conn:
        while True:
            page = await search.page(conn, query)
            assert len(page.items) <= query.limit
            found += page.items
            if page.next_cursor is None:
                return found
            query = query.model_copy(update={"cursor": page.next_cursor})


@pytest.mark.parametrize("limit", [1, 7, 61, 62, 63, 200])
async def test_walking_by_cursor_shows_every_entry_once_newest_first(log: AsyncConnectionPool, limit: int) -> None:
    positions = [item.position for item in await walk(log, AuditQuery(limit=limit))]
    assert positions == list(range(len(JOBS) + 3, 0, -1))


async def test_a_page_is_cut_where_it_would_not_fit_into_a_message(pool: AsyncConnectionPool) -> None:
    refusal = CommandRefused(command="retry", code="job_not_failed", target_id="世" * 3_000)
    await add(pool, [record(1 + n, refusal, reason="界" * 1_000) for n in range(60)], EVT_JOBS)
    async with pool.connection() as conn:
        page = await search.page(conn, AuditQuery(limit=200))
    assert 1 < len(page.items) < 60
    assert len(page.model_dump_json().encode()) < MAX_MESSAGE_BYTES
    assert [item.position for item in await walk(pool, AuditQuery(limit=200))] == list(range(60, 0, -1))


async def test_new_entries_do_not_disturb_a_walk(log: AsyncConnectionPool) -> None:
    async with log.connection() as conn:
        first = await search.page(conn, AuditQuery(limit=10))
        await add(log, [login(3)], EVT_ADMIN)
        second = await search.page(conn, AuditQuery(limit=10, cursor=first.next_cursor))
    assert second.items[0].position == first.items[-1].position - 1


QUERIES: dict[str, tuple[dict[str, Any], Filter]] = {
    "everything": ({}, lambda _: True),
    "one rare action": ({"action": ["JOB_FAILED"]}, lambda i: i.action is AuditAction.JOB_FAILED),
    "rare actions": (
        {"action": ["JOB_FAILED", "LOGIN_SUCCEEDED", "COMMAND_REFUSED"]},
        lambda i: i.action in {AuditAction.JOB_FAILED, AuditAction.LOGIN_SUCCEEDED, AuditAction.COMMAND_REFUSED},
    ),
    "an action twice": ({"action": ["JOB_FAILED", "JOB_FAILED"]}, lambda i: i.action is AuditAction.JOB_FAILED),
    "a routine action": ({"action": ["JOB_STARTED"]}, lambda i: i.action is AuditAction.JOB_STARTED),
    "rare and routine": (
        {"action": ["JOB_STARTED", "JOB_FAILED"]},
        lambda i: i.action in {AuditAction.JOB_STARTED, AuditAction.JOB_FAILED},
    ),
    "a person": ({"actor": ADMIN.id}, lambda i: i.actor.id == ADMIN.id),
    "a worker": ({"actor": "worker-1"}, lambda i: i.actor.id == "worker-1"),
    "nobody": ({"actor": "worker-2"}, lambda _: False),
    "no text": ({"actor": "a\0b"}, lambda _: False),
    "neither": ({"target": "\0"}, lambda _: False),
    "a job": ({"target": JOBS[30].stream_id}, lambda i: i.target.id == JOBS[30].stream_id),
    "an odd target": ({"target": "odd id"}, lambda i: i.target.id == "odd id"),
    "refused": ({"outcome": "refused"}, lambda i: i.outcome == "refused"),
    "accepted": ({"outcome": "accepted"}, lambda i: i.outcome == "accepted"),
    "a command": ({"command_id": JOBS[3].command_id}, lambda i: i.command_id == JOBS[3].command_id),
    "no command": ({"command_id": "'; DROP TABLE audit_log"}, lambda _: False),
    "a correlation": (
        {"correlation_id": JOBS[9].correlation_id},
        lambda i: i.correlation_id == JOBS[9].correlation_id,
    ),
    "an operation": ({"operation": OPERATION}, lambda i: i.operation_id == OPERATION),
    "no operation": ({"operation": "b01c"}, lambda _: False),
    "since": ({"since": LATER}, lambda i: i.at >= LATER),
    "until": ({"until": LATER}, lambda i: i.at < LATER),
    "a span": (
        {"since": JOBS[12].at, "until": JOBS[60].at},
        lambda i: JOBS[12].at <= i.at < JOBS[60].at,
    ),
    "an empty span": ({"since": NOON - timedelta(days=2), "until": NOON - timedelta(days=1)}, lambda _: False),
    "all together": (
        {"action": ["JOB_FAILED"], "actor": "worker-1", "outcome": "accepted", "since": NOON, "until": LATER},
        lambda i: i.action is AuditAction.JOB_FAILED,
    ),
}


async def test_a_filter_finds_exactly_what_it_says(log: AsyncConnectionPool) -> None:
    everything = await walk(log, AuditQuery(limit=200))
    for name, (asked, wanted) in QUERIES.items():
        found = await walk(log, AuditQuery.model_validate({**asked, "limit": 9}))
        assert found == [item for item in everything if wanted(item)], name


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.sampled_from(sorted(QUERIES)), min_size=2, max_size=3))
async def test_filters_compose_by_and(log: AsyncConnectionPool, names: set[str]) -> None:
    asked: dict[str, Any] = {}
    kept: list[Filter] = []
    for name in sorted(names):
        if not asked.keys() & QUERIES[name][0].keys():
            asked |= QUERIES[name][0]
            kept.append(QUERIES[name][1])
    expected = [
        item.position for item in await walk(log, AuditQuery(limit=200)) if all(wanted(item) for wanted in kept)
    ]
    assert [item.position for item in await walk(log, AuditQuery.model_validate(asked))] == expected


async def test_a_forged_cursor_is_refused(log: AsyncConnectionPool) -> None:
    async with log.connection() as conn:
        with pytest.raises(Refused, match="invalid_cursor"):
            await search.page(conn, AuditQuery(cursor="MQ"))


@pytest.fixture
async def long_log(pool: AsyncConnectionPool) -> AsyncConnectionPool:
    """Enough entries for the planner to care: thirty thousand, an hour of them old."""
    async with pool.connection() as conn:
        await add(pool, [*lifecycles(200), record(601, CommandRefused(command="retry", code="x"), at=LATER)], EVT_JOBS)
        await add(pool, LOGINS, EVT_ADMIN)
        columns = "at, trace_id, source, count, index, refused, actor_kind, target_type"
        await conn.execute(
            f"""
            INSERT INTO audit_log (position, source_position, correlation_id, target_id, command_id, action, actor_id,
                                   {columns})
            SELECT 1000 + n, 1000 + n, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),
                   (enum_range(NULL::audit_action))[1 + n % 3], 'worker-' || n % 4,
                   at + interval '1 day', trace_id, source, count, index, refused, 'worker', target_type
            FROM generate_series(1, 30000) AS n, audit_log WHERE position = 1
            """
        )
        await conn.execute("INSERT INTO audit_hour VALUES (%s, 1001, 31000)", (NOON + timedelta(days=1),))
        await conn.execute("UPDATE audit_head SET position = 31000")
    await add(pool, lifecycles(1, first=602), EVT_JOBS, late=True)  # an old event that was read only now
    return pool


async def test_every_filtered_page_comes_from_an_index(long_log: AsyncConnectionPool, database: Database) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE audit.audit_log")
    async with long_log.connection() as conn:
        for name, (asked, _) in QUERIES.items():
            statement, parameters = search.select(AuditQuery.model_validate(asked))
            explain = SQL("EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF) {}").format(statement)
            rows = await (await conn.execute(explain, parameters)).fetchall()
            plan = "\n".join([name, *(row[0] for row in rows)])
            assert "Seq Scan on audit_log" not in plan, plan
            discarded = sum(map(int, re.findall(r"Rows Removed by (?:Filter|Index Recheck): (\d+)", plan)))
            assert discarded < 1_000, plan
