"""Jobs as statements write them: created, changed, archived; one array parameter per column."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, Final

from jobplane.chassis.arrays import plain, texts
from jobplane.chassis.exchange import Parameter
from jobplane.jobs import rows
from jobplane.jobs.job import Job
from jobplane.jobs.rows import Held
from jobplane.jobs.store import Changes

_TYPES: Final = {
    "id": "uuid",
    "priority": "smallint",
    "run_at": "timestamptz",
    "created_at": "timestamptz",
    "max_attempts": "smallint",
    "timeout_ms": "bigint",
    "payload_ref": "uuid",
    "result_ref": "uuid",
    "error_ref": "uuid",
    "run": "integer",
    "attempt": "smallint",
    "orphanings": "smallint",
    "forced": "boolean",
    "lease_ms": "integer",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "version": "integer",
    "cloned_from": "uuid",
    "correlation_id": "uuid",
    "ready": "boolean",
    "lease_until": "timestamptz",
    "started": "boolean",
    "n": "bigint",
}
"""Columns whose text needs no quotes; all others are text."""
_FIELDS: Final = tuple(field.name for field in fields(Job))
_ROW_ONLY: Final = ("traceparent", "correlation_id", "ready", "lease_until", "lease_request")
_FIXED: Final = frozenset(
    {"id", "kind", "created_at", "timeout_ms", "tags", "unique_key", "asset", "trace_id", "cloned_from"}
)
_CHANGING: Final = tuple(name for name in _FIELDS if name not in _FIXED)
_changing_of = attrgetter(*_CHANGING)


def _unnest(names: Iterable[str]) -> str:
    """Rows named `u` of one array parameter per column."""
    listed = tuple(names)
    arrays = ", ".join(f"%s::{_TYPES.get(name, 'text')}[]" for name in listed)
    return f"unnest({arrays}) AS u ({', '.join(listed)})"


_NEW: Final = (*_FIELDS, *_ROW_ONLY, "n")
_ALWAYS: Final = ("id", *_ROW_ONLY, "started", "n")
_INSERT_JOBS: Final = f"""created AS (
    INSERT INTO job ({", ".join((*_FIELDS, *_ROW_ONLY))}, position)
    SELECT {", ".join("u.tags::text[]" if name == "tags" else f"u.{name}" for name in (*_FIELDS, *_ROW_ONLY))},
        head.base + u.n
    FROM head, {_unnest(_NEW)}
)"""  # noqa: S608 - constants
_DELETE_JOBS: Final = """archived AS (
    DELETE FROM job USING head, unnest(%s::uuid[]) AS u (id) WHERE job.id = u.id RETURNING job.id, job.bulk_positions
), remembered AS (
    INSERT INTO archived_job (id, bulk_positions)
    SELECT id, bulk_positions FROM archived WHERE bulk_positions IS NOT NULL
)"""


def parts(changes: Changes) -> Iterable[tuple[str, Sequence[Parameter]]]:
    """Parts of a `WITH`, as text and parameters; a part named `head` must hold the lock of the head, and `base`."""
    new = [(item, n) for item, n in changes.rows if item.before is None]
    old = [(item, n) for item, n in changes.rows if item.before is not None and not item.archived]
    gone = [item.job.id for item, _ in changes.rows if item.archived]
    if gone:
        yield _DELETE_JOBS, [plain(gone)]
    if new:
        yield _INSERT_JOBS, _columns(_NEW, new, changes)
    if old:
        changing = _changing([item for item, _ in old])
        yield _update_jobs(changing), _columns((*_ALWAYS, *changing), old, changes)


@cache
def _update_jobs(changing: Sequence[str]) -> str:
    """The statement that updates some columns of some jobs."""
    columns = ", ".join(f"{name} = u.{name}" for name in (*changing, *_ROW_ONLY))
    return f"""changed AS (
        UPDATE job SET {columns}, position = head.base + u.n,
            progress = CASE WHEN u.started THEN NULL ELSE progress END, unmentioned_at = NULL
        FROM head, {_unnest((*_ALWAYS, *changing))} WHERE job.id = u.id
    )"""  # noqa: S608 - constants


def _changing(jobs: Sequence[Held]) -> tuple[str, ...]:
    """The columns that are not what they were, in any of these jobs."""
    changed: set[str] = set()
    for item in jobs:
        if item.before is not None:
            pairs = zip(_CHANGING, _changing_of(item.before), _changing_of(item.job), strict=True)
            changed.update([name for name, before, after in pairs if before is not after and before != after])
    return tuple(name for name in _CHANGING if name in changed)


def _columns(names: Sequence[str], jobs: Sequence[tuple[Held, int]], changes: Changes) -> list[str]:
    """One array per column."""
    return [(plain if name in _TYPES else texts)(_value_of(name, jobs, changes)) for name in names]


def _value_of(name: str, jobs: Sequence[tuple[Held, int]], changes: Changes) -> list[Any]:
    special = _SPECIAL.get(name)
    if special is not None:
        return [special(item, n, changes) for item, n in jobs]
    return [getattr(item.job, name) for item, _ in jobs]


_SPECIAL: Final[Mapping[str, Callable[[Held, int, Changes], Any]]] = {
    "tags": lambda item, _n, _changes: texts(item.job.tags),
    "traceparent": lambda item, _n, _changes: item.traceparent,
    "correlation_id": lambda item, _n, _changes: item.correlation_id,
    "ready": lambda item, _n, changes: rows.ready(item.job, changes.now),
    "lease_until": lambda item, _n, changes: rows.lease_end(item, changes.now),
    "lease_request": lambda item, _n, _changes: item.lease_request,
    "started": lambda item, _n, _changes: item.started,
    "n": lambda _item, n, _changes: n,
}
