"""How a page of a search is found: by looking at the next jobs where many match, by asking the index where few do.

The index cannot give its entries in an order. So the first jobs of a walk are looked at; if they do not fill the page,
the index is asked for all that match; if these are too many to be sorted in time, the walk goes on in longer steps.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from jobplane.contracts.errors import Refused
from jobplane.contracts.job_filter import JobFilter, Span
from jobplane.contracts.queries import JobSort
from jobplane.jobs.conditions import Condition, id_range
from jobplane.jobs.id_times import Skew
from jobplane.jobs.search_cursor import Place
from jobplane.jobs.search_sql import ROW_COLUMNS, Asked
from jobplane.jobs.walks import Trail, walk

FIRST_LOOK: Final = 500
"""Jobs that are looked at before the index is asked."""
WALKED: Final = 6_000
"""If more would have to be looked at to fill the page, the index is asked."""
SORTED: Final = 10_000
"""Jobs that are sorted within the time of a page."""
_LONGER: Final = 4
_LONGEST_LOOK: Final = 32_000
_MOST_TRAILS: Final = 12
"""Combinations of values along which a walk goes at once."""
_STATUSES: Final = 5
_LAST: Final = 2**62
"""Sorts behind every instant and number."""
_ITS_ENTRY: Final = "JOIN LATERAL (SELECT * FROM job_search WHERE job_id = walked.id OFFSET 0) AS s ON true"
"""Looked up one by one, whatever the planner thinks."""
_ITS_JOB: Final = f"JOIN LATERAL (SELECT {ROW_COLUMNS} FROM job WHERE id = matched.job_id OFFSET 0) AS job ON true"  # noqa: S608 - constants
_ID_AS_TEXT: Final = 's.job_id::text COLLATE "C"'
"""In the same order; but the planner cannot walk along the ids instead of asking the index of the terms."""
_KEYS: Final = {
    "started": "(extract(epoch FROM started_at) * 1000000)::bigint",
    "finished": "(extract(epoch FROM finished_at) * 1000000)::bigint",
    "run_at": "(extract(epoch FROM run_at) * 1000000)::bigint",
    "priority": "priority::bigint",
}


class Rows(Protocol):
    """Runs a statement."""

    def __call__(
        self, text: str, parameters: Sequence[object] = (), *, along_indexes: bool = False
    ) -> Awaitable[list[Any]]:
        """Gives the rows; `along_indexes`: whatever the planner thinks, no table is read from its beginning."""


@dataclass(frozen=True, slots=True)
class Step:
    """One page that is looked for."""

    asked: Asked
    wanted: JobFilter
    sort: JobSort
    after: Place | None
    limit: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """The ids among which the jobs are, none of them included."""

    above: int
    below: int


async def by_id(step: Step, rows: Rows, skew: Skew, now: datetime) -> list[Place]:
    """The next jobs in the order of their ids."""
    up = step.sort is JobSort.OLDEST
    stretch = _stretch(step, skew, now)
    found: list[str] = []
    look, index_asked = FIRST_LOOK, False
    at = stretch.above if up else stretch.below
    while len(found) < step.limit and stretch.above + 1 < stretch.below:
        met, last, ids = await _walk(step, rows, at, look, step.limit - len(found))
        found += ids
        if met < look or len(found) >= step.limit:
            break
        at = UUID(last).int
        stretch = _Stretch(at, stretch.below) if up else _Stretch(stretch.above, at)
        needed = (step.limit - len(found)) * look // len(ids) if ids else _LONGEST_LOOK
        if needed > WALKED and not index_asked and step.asked.narrowed is not None:
            index_asked = True
            rest = await _from_index(step, rows, stretch, step.limit - len(found))
            if rest is not None:
                found += rest
                break
        look = min(max(look, needed + needed // 2), look * _LONGER, _LONGEST_LOOK)
    return [Place(job_id, 0) for job_id in found]


async def by_value(step: Step, rows: Rows) -> list[Place]:
    """The next jobs in the order of a value.

    Raises:
        Refused: `sort_too_broad`.
    """
    name, down = step.sort.removeprefix("-"), step.sort.startswith("-")
    key = _KEYS[name]
    source, parameters = _source(step.asked)
    last = -_LAST if down else _LAST
    beyond, told = (
        ("true", [])
        if step.after is None
        else (f"(key, id) {'<' if down else '>'} (%s, %s::uuid)", [step.after.key, step.after.id])
    )
    order = "key DESC, id DESC" if down else "key, id"
    text = f"""
        WITH matched AS MATERIALIZED (SELECT id, coalesce({key}, {last}) AS key FROM {source} LIMIT {SORTED + 1}),
        found AS (SELECT id, key FROM matched WHERE {beyond} ORDER BY {order} LIMIT %s)
        SELECT (SELECT count(*) FROM matched), id, key FROM (SELECT) AS one LEFT JOIN found ON true ORDER BY {order}
    """  # noqa: S608 - constants
    found = await rows(text, [*parameters, *told, step.limit])
    if found[0][0] > SORTED:
        detail = f"More than {SORTED:,} jobs match, too many to sort by {name}: narrow the search, or sort by created."
        raise Refused("sort_too_broad", detail, {"limit": SORTED})
    return [Place(job_id, value) for _, job_id, value in found if job_id is not None]


async def _walk(step: Step, rows: Rows, at: int, look: int, limit: int) -> tuple[int, str, list[str]]:
    """Look at the next jobs: how many there were, the last of them, and those that match."""
    up = step.sort is JobSort.OLDEST
    text, parameters = walk(_trail(step.wanted), str(UUID(int=at)), look, columns=ROW_COLUMNS, oldest_first=up)
    order = "id" if up else "id DESC"
    conditions, told = step.asked.rows
    join = ""
    if step.asked.entries is not None:
        join = _ITS_ENTRY
        conditions = f"{conditions} AND ({step.asked.entries.text})"
        told = [*told, *step.asked.entries.parameters]
    whole = f"""
        WITH walked AS MATERIALIZED ({text}),
        found AS (SELECT walked.id FROM walked {join} WHERE {conditions} ORDER BY {order} LIMIT %s)
        SELECT (SELECT count(*) FROM walked), (SELECT id FROM walked ORDER BY {"id DESC" if up else "id"} LIMIT 1),
            ARRAY(SELECT id::text FROM found ORDER BY {order})
    """  # noqa: S608 - constants
    [(met, last, ids)] = await rows(whole, [*parameters, *told, limit])
    return met, last, ids


async def _from_index(step: Step, rows: Rows, stretch: _Stretch, limit: int) -> list[str] | None:
    """The next jobs among all that the index finds; None if those are too many."""
    if step.asked.narrowed is None:
        return None
    order = "id" if step.sort is JobSort.OLDEST else "id DESC"
    narrowed, told = step.asked.narrowed
    conditions, more = step.asked.rows
    text = f"""
        WITH matched AS MATERIALIZED (
            SELECT s.job_id FROM job_search AS s
            WHERE {narrowed} AND {_ID_AS_TEXT} > %s AND {_ID_AS_TEXT} < %s LIMIT {SORTED + 1}
        ),
        few AS MATERIALIZED (SELECT job_id FROM matched WHERE (SELECT count(*) FROM matched) <= {SORTED}),
        found AS (
            SELECT job.id FROM (SELECT job_id FROM few ORDER BY job_{order}) AS matched {_ITS_JOB}
            WHERE {conditions} LIMIT %s
        )
        SELECT (SELECT count(*) FROM matched), ARRAY(SELECT id::text FROM found ORDER BY {order})
    """  # noqa: S608 - constants
    ends = [str(UUID(int=stretch.above)), str(UUID(int=stretch.below))]
    [(count, ids)] = await rows(text, [*told, *ends, *more, limit], along_indexes=True)
    return None if count > SORTED else ids


def _source(asked: Asked) -> Condition:
    """All rows that match, after FROM."""
    text, parameters = asked.rows
    if asked.entries is None or asked.narrowed is None:
        return Condition(f"job WHERE {text}", parameters)
    joined = f"job JOIN job_search AS s ON s.job_id = job.id WHERE {asked.narrowed.text} AND {text}"
    return Condition(joined, [*asked.narrowed.parameters, *parameters])


def _trail(wanted: JobFilter) -> Trail:
    """Along which indexes to walk: not along too many at once."""
    kinds = () if any(kind.endswith("*") for kind in wanted.kind) else wanted.kind
    statuses = len(wanted.status) or _STATUSES
    for trail in (
        Trail(wanted.status, wanted.queue, kinds),
        Trail(wanted.status, (), kinds),
        Trail(wanted.status),
    ):
        if statuses * max(1, len(trail.queue) or len(trail.kind)) <= _MOST_TRAILS:
            return trail
    return Trail()


def _stretch(step: Step, skew: Skew, now: datetime) -> _Stretch:
    """What times, beginnings of ids and the page before say about the ids."""
    first, last = skew.ids(_created(step.wanted, now))
    above = [-1, UUID(first).int - 1] if first else [-1]
    below = [2**128, UUID(last).int + 1] if last else [2**128]
    if step.wanted.id:
        ranges = [id_range(prefix) for prefix in step.wanted.id]
        above.append(min(UUID(begin).int for begin, _ in ranges) - 1)
        below.append(max(UUID(end).int for _, end in ranges) + 1)
    if step.after is not None:
        (above if step.sort is JobSort.OLDEST else below).append(UUID(step.after.id).int)
    return _Stretch(max(0, *above), min(2**128 - 1, *below))


def _created(wanted: JobFilter, now: datetime) -> Span:
    """When the jobs were created: nothing starts or ends before that."""
    since = [wanted.created.since if wanted.created else None, now - wanted.newer if wanted.newer is not None else None]
    until = [stretch.until for stretch in (wanted.created, wanted.started, wanted.finished) if stretch is not None]
    until.append(now - wanted.older if wanted.older is not None else None)
    return Span.model_construct(
        since=max((instant for instant in since if instant is not None), default=None),
        until=min((instant for instant in until if instant is not None), default=None),
    )
