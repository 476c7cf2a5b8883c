"""A search in the order of ends: it walks along their index, unless so few jobs match that they are sorted at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from jobplane.contracts import cursors
from jobplane.contracts.errors import Refused
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.contracts.queries import JobSort
from jobplane.jobs import search_steps
from jobplane.jobs.conditions import Condition, conjunction
from jobplane.jobs.search_cursor import Place
from jobplane.jobs.search_sql import ROW_COLUMNS
from jobplane.jobs.search_steps import (
    ITS_ENTRY,
    KEYS,
    LAST,
    LONGER,
    LONGEST_LOOK,
    RARE,
    Known,
    Step,
    by_id,
    few_by_value,
)
from jobplane.jobs.search_stretches import Rows

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_UNFINISHED: Final = frozenset(JobStatus) - FINISHED


async def by_end(step: Step, rows: Rows, known: Known) -> list[Place]:
    """The next jobs in the order in which they ended; those that have not ended come last, by their ids.

    Raises:
        Refused: `invalid_cursor`.
    """
    found: list[Place] = []
    look, after, sortable = search_steps.FIRST_LOOK, step.after, True
    some_ended = bool(FINISHED.intersection(step.wanted.status or FINISHED))
    while some_ended and (after is None or abs(after.key) < LAST):
        met, after, places = await _walk(step, rows, after, look, step.limit - len(found))
        found += places
        if len(found) >= step.limit:
            return found
        if met < look:
            break
        needed = (step.limit - len(found)) * look // len(places) if places else LONGEST_LOOK
        if needed > RARE and sortable:
            few = await few_by_value(step, rows)
            if few is not None:
                return few
            sortable = False
        look = min(max(look, needed + needed // 2), look * LONGER, LONGEST_LOOK)
    return found + await _unfinished(step, rows, known, step.limit - len(found))


async def _walk(
    step: Step, rows: Rows, after: Place | None, look: int, limit: int
) -> tuple[int, Place | None, list[Place]]:
    """Look at the next jobs that ended: how many there were, the last of them, and those that match."""
    down = step.sort is JobSort.LATEST_FINISHED
    order = "finished_at DESC, id DESC" if down else "finished_at, id"
    among = conjunction(_among(step, after, down=down))
    conditions, told = step.asked.rows
    join = ""
    if step.asked.entries is not None:
        join = ITS_ENTRY
        conditions = f"{conditions} AND ({step.asked.entries.text})"
        told = [*told, *step.asked.entries.parameters]
    text = f"""
        WITH walked AS MATERIALIZED (
            SELECT {ROW_COLUMNS}, row_number() OVER (ORDER BY {order}) AS place FROM job
            WHERE finished_at IS NOT NULL AND {among.text} ORDER BY {order} LIMIT %s
        ),
        found AS (
            SELECT walked.id, place, {KEYS["finished"]} AS key FROM walked {join} WHERE {conditions}
            ORDER BY place LIMIT %s
        )
        SELECT place, id::text, {KEYS["finished"]}, false FROM walked WHERE place = (SELECT max(place) FROM walked)
        UNION ALL SELECT place, id::text, key, true FROM found ORDER BY 4, 1
    """  # noqa: S608 - constants
    found = await rows(text, [*among.parameters, look, *told, limit], along_indexes=True)
    if not found:
        return 0, after, []
    (met, job_id, key, _), *matching = found
    return met, Place(job_id, key), [Place(one, at) for _, one, at, _ in matching]


def _among(step: Step, after: Place | None, *, down: bool) -> list[Condition]:
    """The jobs that a walk may meet: beyond the last one, and within the time that is asked for."""
    among: list[Condition] = []
    if after is not None:
        beyond = f"(finished_at, id) {'<' if down else '>'} (%s::timestamptz, %s::uuid)"
        among.append(Condition(beyond, [_instant(after.key), after.id]))
    time = step.wanted.finished
    if time is not None and time.since is not None:
        among.append(Condition("finished_at >= %s::timestamptz", [time.since]))
    if time is not None and time.until is not None:
        among.append(Condition("finished_at < %s::timestamptz", [time.until]))
    return among


def _instant(key: int) -> datetime:
    """The end that a cursor tells.

    Raises:
        Refused: `invalid_cursor`: nothing ends then.
    """
    try:
        return _EPOCH + timedelta(microseconds=key)
    except OverflowError as error:
        raise Refused("invalid_cursor", cursors.NOT_OURS) from error


async def _unfinished(step: Step, rows: Rows, known: Known, limit: int) -> list[Place]:
    """The next jobs that have not ended."""
    status = _UNFINISHED.intersection(step.wanted.status or _UNFINISHED)
    if not status or step.wanted.finished is not None:
        return []
    down = step.sort is JobSort.LATEST_FINISHED
    key = -LAST if down else LAST
    after = step.after if step.after is not None and step.after.key == key else None
    rest = Step(
        asked=replace(step.asked, rows=conjunction([step.asked.rows, Condition("finished_at IS NULL", [])])),
        wanted=step.wanted.model_copy(update={"status": tuple(sorted(status))}),
        sort=JobSort.NEWEST if down else JobSort.OLDEST,
        after=after,
        limit=limit,
    )
    return [place._replace(key=key) for place in await by_id(rest, rows, known)]
