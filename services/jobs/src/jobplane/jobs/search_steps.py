"""How a page of a search is found: by looking at the next jobs where many match, by asking the index where few do.

The first jobs of a walk are looked at. If they do not fill the page, and the index promises to look at fewer, it is
asked, stretch by stretch; where it does not, the walk goes on in longer steps. What only rows tell, and the planner
thinks that few jobs have, it may find as it likes. Of a queue and a kind two indexes are crossed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from jobplane.contracts.errors import Refused
from jobplane.contracts.job_filter import JobFilter, Span
from jobplane.contracts.jobs import FINISHED
from jobplane.contracts.queries import JobSort
from jobplane.jobs import search_crossings
from jobplane.jobs.conditions import Condition, id_range
from jobplane.jobs.id_times import Skew
from jobplane.jobs.search_cursor import Place
from jobplane.jobs.search_estimates import estimated
from jobplane.jobs.search_sql import ROW_COLUMNS, Asked
from jobplane.jobs.search_stretches import SORTED, Indexed, Rows, Stretch, from_index
from jobplane.jobs.walks import Trail, phases, walk

FIRST_LOOK: Final = 500
"""Jobs that are looked at before the index is asked."""
WALKED: Final = 1_500
"""If more would have to be looked at to fill the page, the index is asked."""
RARE: Final = 5_000
"""If more would have to be looked at, the planner is asked how many jobs match."""
_ID_AS_TEXT: Final = 'id::text COLLATE "C"'
"""In the same order; but the planner cannot walk along the ids."""
LONGER: Final = 4
LONGEST_LOOK: Final = 32_000
_MOST_TRAILS: Final = 15
"""Combinations of values along which a walk goes at once."""
_STATUSES: Final = 5
LAST: Final = 2**62
"""Sorts behind every instant and number."""
ITS_ENTRY: Final = "JOIN LATERAL (SELECT * FROM job_search WHERE job_id = walked.id OFFSET 0) AS s ON true"
"""Looked up one by one, whatever the planner thinks."""
KEYS: Final = {
    "started": "(extract(epoch FROM started_at) * 1000000)::bigint",
    "finished": "(extract(epoch FROM finished_at) * 1000000)::bigint",
    "run_at": "(extract(epoch FROM run_at) * 1000000)::bigint",
    "priority": "priority::bigint",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One page that is looked for."""

    asked: Asked
    wanted: JobFilter
    sort: JobSort
    after: Place | None
    limit: int


class Known(NamedTuple):
    """What is known of all jobs together when a search begins."""

    oldest: str | None
    """Its id; none if there are no jobs."""
    newest: str | None
    skew: Skew
    now: datetime


async def by_id(step: Step, rows: Rows, known: Known) -> list[Place]:
    """The next jobs in the order of their ids."""
    stretch = _stretch(step, known)
    trail = await _trail(step.wanted, rows)
    narrowed = step.asked.narrowed
    found: list[str] = []
    few: list[str] | None = None
    crossing = step.asked.entries is None and search_crossings.possible(step.wanted)
    look = FIRST_LOOK
    while len(found) < step.limit and stretch.length:
        met, last, ids = await _walk(step, rows, trail, stretch, look, step.limit - len(found))
        found += ids
        if met < look or len(found) >= step.limit:
            break
        before, stretch = stretch, stretch.behind(UUID(last).int)
        needed = (step.limit - len(found)) * look // len(ids) if ids else LONGEST_LOOK
        if needed > WALKED and narrowed is not None:
            gap = max(1, (before.length - stretch.length) // look)
            asked = Indexed(narrowed, step.asked.rows)
            some, stretch = await from_index(asked, rows, stretch, gap, step.limit - len(found))
            found += some
            narrowed = None  # where it was given up, it is not worth a second try
        elif crossing and needed > search_crossings.WORTH:
            crossing = False  # as above
            both = await search_crossings.crossed(step.wanted, step.asked.rows, rows, stretch, step.limit - len(found))
            if both is not None:
                found += both
                break
        elif needed > RARE and few is None and step.asked.entries is None:
            few = await _few(step, rows, stretch, step.limit - len(found))
            if few is not None:
                found += few
                break
            few = []
        look = min(max(look, needed + needed // 2), look * LONGER, LONGEST_LOOK)
    return [Place(job_id, 0) for job_id in found]


async def by_value(step: Step, rows: Rows) -> list[Place]:
    """The next jobs in the order of a value.

    Raises:
        Refused: `sort_too_broad`.
    """
    found = await few_by_value(step, rows)
    if found is None:
        name = step.sort.removeprefix("-")
        detail = f"More than {SORTED:,} jobs match, too many to sort by {name}: narrow the search, or sort by created."
        raise Refused("sort_too_broad", detail, {"limit": SORTED})
    return found


async def few_by_value(step: Step, rows: Rows) -> list[Place] | None:
    """The next jobs in the order of a value; None if too many match to sort them."""
    down = step.sort.startswith("-")
    key = KEYS[step.sort.removeprefix("-")]
    source, parameters = _source(step)
    last = -LAST if down else LAST
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
        return None
    return [Place(job_id, value) for _, job_id, value in found if job_id is not None]


async def _walk(
    step: Step, rows: Rows, trail: Trail, stretch: Stretch, look: int, limit: int
) -> tuple[int, str, list[str]]:
    """Look at the next jobs: how many there were, the last of them, and those that match."""
    text, parameters = walk(trail, stretch.begin, look, columns=ROW_COLUMNS, oldest_first=stretch.up)
    order, back = ("id", "id DESC") if stretch.up else ("id DESC", "id")
    conditions, told = step.asked.rows
    join = ""
    if step.asked.entries is not None:
        join = ITS_ENTRY
        conditions = f"{conditions} AND ({step.asked.entries.text})"
        told = [*told, *step.asked.entries.parameters]
    whole = f"""
        WITH walked AS MATERIALIZED ({text}),
        found AS (SELECT walked.id FROM walked {join} WHERE {conditions} ORDER BY {order} LIMIT %s)
        SELECT (SELECT count(*) FROM walked), (SELECT id FROM walked ORDER BY {back} LIMIT 1),
            ARRAY(SELECT id::text FROM found ORDER BY {order})
    """  # noqa: S608 - constants
    [(met, last, ids)] = await rows(whole, [*parameters, *told, limit])
    return met, last, ids


async def _few(step: Step, rows: Rows, stretch: Stretch, limit: int) -> list[str] | None:
    """The next jobs among all that the rows tell; None if those are too many, or hardly any are left to look at."""
    ends = stretch.ends
    conditions, told = step.asked.rows
    if await estimated(rows, "SELECT FROM job WHERE id > %s::uuid AND id < %s::uuid", ends) < RARE:
        return None
    if await estimated(rows, f"SELECT FROM job WHERE {conditions}", told) > SORTED // 2:
        return None
    order = "id" if stretch.up else "id DESC"
    text = f"""
        WITH matched AS MATERIALIZED (
            SELECT id FROM job WHERE {conditions} AND {_ID_AS_TEXT} > %s AND {_ID_AS_TEXT} < %s LIMIT {SORTED + 1}
        ),
        found AS (SELECT id FROM matched ORDER BY {order} LIMIT %s)
        SELECT (SELECT count(*) FROM matched), ARRAY(SELECT id::text FROM found ORDER BY found.{order})
    """  # noqa: S608 - constants
    [(count, ids)] = await rows(text, [*told, *ends, limit], along_indexes=True)
    return None if count > SORTED else ids


def _source(step: Step) -> Condition:
    """All rows that match, after FROM."""
    asked = step.asked
    text, parameters = asked.rows
    if asked.entries is None or asked.narrowed is None:
        # The indexes of queues and kinds are those of one phase each.
        some = f" AND ({' OR '.join(phases(step.wanted.status))})" if step.wanted.queue or step.wanted.kind else ""
        return Condition(f"job WHERE {text}{some}", parameters)
    joined = f"job JOIN job_search AS s ON s.job_id = job.id WHERE {asked.narrowed.text} AND {text}"
    return Condition(joined, [*asked.narrowed.parameters, *parameters])


async def _trail(wanted: JobFilter, rows: Rows) -> Trail:
    """Along which indexes to walk: along the key of which there are the fewest jobs, and not along too many at once."""
    kinds = () if any(kind.endswith("*") for kind in wanted.kind) else wanted.kind
    status = tuple(FINISHED.intersection(wanted.status or FINISHED)) if wanted.finished is not None else wanted.status
    keys = {"queue": wanted.queue, "kind": kinds, "worker": wanted.worker}
    statuses = len(status) or _STATUSES
    few = {name: values for name, values in keys.items() if values and statuses * len(values) <= _MOST_TRAILS}
    if len(few) > 1:
        sizes = {name: await _size(name, values, rows) for name, values in few.items()}
        fewest = min(few, key=sizes.__getitem__)
        few = few if fewest == "worker" else {fewest: few[fewest]}
    return Trail(status=status, **few)


async def _size(column: str, values: Sequence[str], rows: Rows) -> int:
    """About how many jobs have one of these values, as the planner thinks."""
    return await estimated(rows, f"SELECT FROM job WHERE {column} = ANY(%s::text[])", [list(values)])


def _stretch(step: Step, known: Known) -> Stretch:
    """What times, beginnings of ids, the page before and all jobs together say about the ids."""
    if known.oldest is None or known.newest is None:
        return Stretch(0, 0, up=True)
    first, last = known.skew.ids(_created(step.wanted, known.now))
    up = step.sort is JobSort.OLDEST
    above, below = [UUID(known.oldest).int - 1], [UUID(known.newest).int + 1]
    above += [UUID(first).int - 1] if first else []
    below += [UUID(last).int + 1] if last else []
    if step.wanted.id:
        ranges = [id_range(prefix) for prefix in step.wanted.id]
        above.append(min(UUID(begin).int for begin, _ in ranges) - 1)
        below.append(max(UUID(end).int for _, end in ranges) + 1)
    if step.after is not None:
        (above if up else below).append(UUID(step.after.id).int)
    return Stretch(max(0, *above), min(2**128 - 1, *below), up)


def _created(wanted: JobFilter, now: datetime) -> Span:
    """When the jobs were created: nothing starts or ends before that."""
    since = [wanted.created.since if wanted.created else None, now - wanted.newer if wanted.newer is not None else None]
    until = [stretch.until for stretch in (wanted.created, wanted.started, wanted.finished) if stretch is not None]
    until.append(now - wanted.older if wanted.older is not None else None)
    return Span.model_construct(
        since=max((instant for instant in since if instant is not None), default=None),
        until=min((instant for instant in until if instant is not None), default=None),
    )
