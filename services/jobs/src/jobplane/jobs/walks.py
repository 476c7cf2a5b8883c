"""Walks through jobs in the order of their ids, along the indexes that have this order: no row too many is read."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.jobs.conditions import PHASES

FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
LAST_ID: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Trail(NamedTuple):
    """The jobs that a walk meets: of any of these values; no value: of all."""

    status: Collection[JobStatus] = ()
    queue: Collection[str] = ()
    kind: Collection[str] = ()
    worker: Collection[str] = ()
    """Whoever names one names those with the fewest jobs: a walk along workers is filtered by queue and kind."""


class _Phase(NamedTuple):
    """Statuses whose jobs lie in indexes of their own."""

    statuses: frozenset[JobStatus]
    condition: str
    """Word for word that of the indexes."""
    keys: frozenset[str]
    """For each of these columns there is an index."""


class _Way(NamedTuple):
    """Newest first, or oldest first."""

    beyond: str
    """Compares with the id after which it begins."""
    bound: str
    """Compares with the values of the index before the id."""
    order: str


_NEWEST_FIRST: Final = _Way("<", ">=", " DESC")
_OLDEST_FIRST: Final = _Way(">", "<=", "")
_PENDING: Final = frozenset({JobStatus.PENDING})
_RUNNING: Final = frozenset({JobStatus.RUNNING})
_RAN: Final = "worker IS NOT NULL AND "
"""Word for word the condition of the index for workers, beside that of the phase."""
_PHASES: Final = (
    _Phase(FINISHED, PHASES[0], frozenset({"worker", "queue", "kind"})),
    _Phase(_PENDING, PHASES[1], frozenset({"queue", "kind"})),
    _Phase(_RUNNING, PHASES[2], frozenset()),
)


def phases(status: Collection[JobStatus]) -> list[str]:
    """The conditions of the indexes in which the jobs of some statuses lie; no status: of all."""
    return [phase.condition for phase in _PHASES if not status or phase.statuses.intersection(status)]


def walk(
    trail: Trail, after: str | None, limit: int, *, columns: str, oldest_first: bool = False
) -> tuple[str, list[object]]:
    """The statement for the next jobs beyond an id, newest first unless told otherwise, and its parameters.

    An index gives rows in order only below one value of each of its columns before the id. So each combination of the
    values that are wanted is asked for its newest rows, of which the newest are taken. Comparing whole keys leaves the
    planner no other index to walk, however wrong it is about how many rows there are.
    """
    way = _OLDEST_FIRST if oldest_first else _NEWEST_FIRST
    begin = after or (FIRST_ID if oldest_first else LAST_ID)
    if not any(trail):
        return _next(columns, f"id {way.beyond} %s::uuid", f"id{way.order}"), [begin, limit]
    wanted = trail.status or list(JobStatus)
    parts = [_part(trail, phase, phase.statuses.intersection(wanted), begin, limit, columns, way) for phase in _PHASES]
    asked = [part for part in parts if part is not None]
    union, told = " UNION ALL ".join(text for text, _ in asked), [value for _, values in asked for value in values]
    return f"SELECT * FROM ({union}) AS found ORDER BY id{way.order} LIMIT %s", [*told, limit]  # noqa: S608 - constants


def _next(columns: str, condition: str, order: str) -> str:
    return f"SELECT {columns} FROM job WHERE {condition} ORDER BY {order} LIMIT %s"  # noqa: S608 - constants


def _part(
    trail: Trail, phase: _Phase, statuses: Collection[str], begin: str, limit: int, columns: str, way: _Way
) -> tuple[str, Sequence[object]] | None:
    """The next rows of each combination among some statuses of one phase; None if no status is asked for."""
    if not statuses:
        return None
    columns_of = (("worker", trail.worker), ("queue", trail.queue), ("kind", trail.kind))
    filters = {column: values for column, values in columns_of if values}
    wanted: dict[str, Collection[str]] = {"status": statuses}
    column = next((column for column in filters if column in phase.keys), None)
    if column is not None:
        wanted = {column: filters.pop(column), **wanted}
    key, values = ", ".join(wanted), ", ".join(f"wanted_{column}.value" for column in wanted)
    condition = (
        f"({key}, id) {way.beyond} ({values}, %s::uuid) AND ({key}) {way.bound} ({values}) AND "
        f"{_RAN if 'worker' in wanted else ''}{phase.condition}"
    )
    # Beside workers so that no index knows it: however few jobs of a kind there are, those of the worker are fewer.
    hidden = " || ''" if "worker" in wanted else ""
    condition += "".join(f" AND {column}{hidden} = ANY(%s::text[])" for column in filters)
    following = _next(columns, condition, ", ".join(f"{column}{way.order}" for column in (*wanted, "id")))
    listed = ", ".join(f"unnest(%s::text[]) AS wanted_{column} (value)" for column in wanted)
    told = [*map(_texts, wanted.values()), begin, *map(_texts, filters.values()), limit]
    return f"SELECT found.* FROM {listed}, LATERAL ({following}) AS found", told  # noqa: S608 - constants


def _texts(wanted: Collection[str]) -> list[str]:
    """Each value once, as text; no text in a database has a NUL, so that nothing is found by one that has."""
    return sorted({str(value) for value in wanted if "\0" not in value})
