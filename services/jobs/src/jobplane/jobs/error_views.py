"""What others may read of error groups: pages by keyset, and one group with its newest jobs."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue

from jobplane.contracts import cursors
from jobplane.contracts.error_groups import (
    SAMPLE_CHARS,
    TREND_HOURS,
    ErrorGroup,
    ErrorGroupJob,
    ErrorGroupPage,
    ErrorGroupView,
    ErrorSort,
    ListErrorGroups,
    OneErrorGroup,
)
from jobplane.contracts.errors import Refused
from jobplane.jobs import bodies
from jobplane.jobs.redaction import BY_DEFAULT, Redaction

_COLUMNS: Final = (
    "fingerprint, type, kinds, queues, first_at, last_at, occurrences, failed_now, sample_job::text, sample_error_ref"
)
_ERROR_REF = -1
_KEYS: Final[Mapping[ErrorSort, tuple[str, str]]] = {
    ErrorSort.LAST_SEEN: ("last_at", "timestamptz"),
    ErrorSort.COUNT: ("occurrences", "bigint"),
    ErrorSort.FAILED_NOW: ("failed_now", "bigint"),
}
"""The column of each order, and its type: there is an index for each."""
_KEY_INDEX: Final = {ErrorSort.LAST_SEEN: 5, ErrorSort.COUNT: 6, ErrorSort.FAILED_NOW: 7}
_ONE: Final = f"SELECT {_COLUMNS} FROM error_group WHERE fingerprint = %s"  # noqa: S608 - constants
# The hours are counted back from the database's clock: it wrote them.
_TREND: Final = f"""
SELECT fingerprint, ({TREND_HOURS} - 1
    - extract(epoch FROM date_trunc('hour', now(), 'UTC') - hour) / 3600)::integer, n
FROM error_trend WHERE fingerprint = ANY(%s::text[])
    AND hour > date_trunc('hour', now(), 'UTC') - interval '{TREND_HOURS} hours'
"""  # noqa: S608 - constants
_JOBS: Final = """
SELECT id::text, kind, queue, status, attempt, max_attempts, started_at, finished_at, worker FROM job
WHERE error_fingerprint = %s ORDER BY job.id DESC LIMIT 10
"""
_FILTERS: Final[Mapping[str, str]] = {
    "kinds && %s::text[]": "kind",
    "queues && %s::text[]": "queue",
    "type = ANY(%s::text[])": "type",
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_CURSOR: Final = re.compile(r"(last_seen|count|failed_now) ([0-9]{1,16}) ([0-9a-f]{16})")


class ErrorViews:
    """Reads the service's own tables."""

    def __init__(self, pool: AsyncConnectionPool, redaction: Redaction = BY_DEFAULT) -> None:
        self._pool = pool
        self._redaction = redaction

    async def page(self, query: ListErrorGroups) -> ErrorGroupPage:
        """One page of groups, in the order that was asked for.

        A group that fails while pages are turned moves to the front of them: it may be missed or met twice.

        Raises:
            Refused: `invalid_cursor`.
        """
        sql, parameters = select(query)
        async with self._pool.connection() as conn:
            found = await (await conn.execute(sql, parameters)).fetchall()
            shown = found[: query.limit]
            trends = await _trends(conn, [row[0] for row in shown])
            samples = [row[_ERROR_REF] and str(row[_ERROR_REF]) for row in shown]
            texts = await bodies.shown(conn, samples, self._redaction, stacks=False)
        items = [ErrorGroup(**_told(row, trends, texts)) for row in shown]
        cut = [item.model_copy(update={"message": item.message[:SAMPLE_CHARS]}) for item in items]
        more = len(found) > query.limit
        return ErrorGroupPage(items=cut, next_cursor=_cursor_after(query.sort, shown[-1]) if more else None)

    async def one(self, query: OneErrorGroup) -> ErrorGroupView:
        """One group, whole.

        Raises:
            Refused: `error_group_not_found`.
        """
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_ONE, (query.fingerprint,))).fetchone()
            if row is None:
                detail = "Nothing failed so within 90 days: look the group up in the list of error groups."
                raise Refused("error_group_not_found", detail, {"fingerprint": query.fingerprint})
            trends = await _trends(conn, [query.fingerprint])
            texts = await bodies.shown(conn, [row[_ERROR_REF] and str(row[_ERROR_REF])], self._redaction)
            jobs = await (await conn.execute(_JOBS, (query.fingerprint,))).fetchall()
        names = tuple(ErrorGroupJob.model_fields)
        return ErrorGroupView(
            **_told(row, trends, texts),
            stack=_said(row, texts).get("stack"),
            jobs=[ErrorGroupJob(**dict(zip(names, job, strict=True))) for job in jobs],
        )


def select(query: ListErrorGroups) -> tuple[str, list[object]]:
    """The statement for a page, and its parameters; it asks for one row more, to know whether there is a next page.

    Raises:
        Refused: `invalid_cursor`.
    """
    column, cast = _KEYS[query.sort]
    conditions: list[str] = []
    parameters: list[object] = []
    for condition, wanted in _FILTERS.items():
        values: list[str] = getattr(query, wanted)
        if values:
            conditions.append(condition)
            parameters.append([one for one in values if "\0" not in one])  # no text in a database has a NUL
    if query.since is not None:
        conditions.append("last_at >= %s::timestamptz")
        parameters.append(query.since)
    if query.cursor is not None:
        conditions.append(f"({column}, fingerprint) < (%s::{cast}, %s::text)")
        parameters += _decode_cursor(query.cursor, query.sort)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = f"ORDER BY {column} DESC, fingerprint DESC LIMIT %s"
    return f"SELECT {_COLUMNS} FROM error_group {where} {order}", [*parameters, query.limit + 1]  # noqa: S608 - constants


async def _trends(conn: AsyncConnection[Any], fingerprints: Sequence[str]) -> Mapping[str, list[int]]:
    """Failures of each hour, of those groups that have any; oldest first."""
    found = await (await conn.execute(_TREND, (list(fingerprints),))).fetchall()
    trends: dict[str, list[int]] = {}
    for fingerprint, hour, n in found:
        if 0 <= hour < TREND_HOURS:  # another replica's clock may have been ahead
            trends.setdefault(fingerprint, [0] * TREND_HOURS)[hour] = n
    return trends


def _told(row: Sequence[Any], trends: Mapping[str, list[int]], texts: Mapping[str, JsonValue]) -> dict[str, Any]:
    fingerprint, error_type, kinds, queues, first_at, last_at, occurrences, failed_now, sample_job, _ = row
    return {
        "fingerprint": fingerprint,
        "type": error_type,
        "message": _said(row, texts).get("message") or "",
        "count": occurrences,
        "failed_now": failed_now,
        "trend": trends.get(fingerprint, [0] * TREND_HOURS),
        "first_at": first_at,
        "last_at": last_at,
        "kinds": kinds,
        "queues": queues,
        "sample_job": sample_job,
        "jobs_url": f"/api/admin/jobs?fingerprint={fingerprint}",
    }


def _said(row: Sequence[Any], texts: Mapping[str, JsonValue]) -> dict[str, Any]:
    """What the latest failure said; nothing if it was erased."""
    body = texts.get(str(row[_ERROR_REF]))
    return body if isinstance(body, dict) else {}


def _cursor_after(sort: ErrorSort, row: Sequence[Any]) -> str:
    value = row[_KEY_INDEX[sort]]
    number = (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value
    return cursors.sealed(f"{sort} {number} {row[0]}")


def _decode_cursor(cursor: str, sort: ErrorSort) -> list[object]:
    """The value and the fingerprint after which a page begins.

    Raises:
        Refused: `invalid_cursor`.
    """
    found = cursors.opened(cursor, _CURSOR)
    if found[1] != sort:
        raise Refused("invalid_cursor", "This cursor is of another order: leave it out, or ask for that order.")
    number = int(found[2])
    return [_EPOCH + number * _MICROSECOND if sort is ErrorSort.LAST_SEEN else number, found[3]]
