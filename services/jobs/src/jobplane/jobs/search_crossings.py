"""Jobs of a queue and of a kind, neither of them rare enough to look at all its jobs: the ids that are in both indexes.

PostgreSQL does not combine two partial indexes with the same condition by itself, so their ids are intersected: what is
read is two spans of index entries, and of the jobs those alone that are in both.
"""

from typing import Final

from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.jobs.conditions import PHASES, Condition
from jobplane.jobs.search_estimates import estimated
from jobplane.jobs.search_stretches import Rows, Stretch

WORTH: Final = 1_000
"""If a walk would have to look at more jobs to fill the page, the indexes are crossed."""
_MOST: Final = 50_000
"""Entries of both indexes together that are read within the time of a page."""
_CROSSED: Final = ((FINISHED, PHASES[0]), (frozenset({JobStatus.PENDING}), PHASES[1]))
"""For these there are indexes by queue and by kind; what is RUNNING is looked at one by one."""


def possible(wanted: JobFilter) -> bool:
    """Whether the filter names whole queues and whole kinds."""
    return bool(wanted.queue and wanted.kind) and not any(kind.endswith("*") for kind in wanted.kind)


async def crossed(wanted: JobFilter, given: Condition, rows: Rows, stretch: Stretch, limit: int) -> list[str] | None:
    """The next jobs that match, all of whose conditions are `given`; None if there are too many entries to read."""
    asked = (("queue", list(wanted.queue)), ("kind", list(wanted.kind)))
    sizes = [
        await estimated(rows, f"SELECT FROM job WHERE {column} = ANY(%s::text[])", [values]) for column, values in asked
    ]
    if sum(sizes) > _MOST:
        return None
    entries, told = _entries(wanted)
    order = "id" if stretch.up else "id DESC"
    text = f"""
        WITH crossed AS MATERIALIZED ({entries}),
        found AS (
            SELECT job.id FROM (SELECT id FROM crossed WHERE id > %s::uuid AND id < %s::uuid ORDER BY {order}) AS next
            JOIN LATERAL (SELECT * FROM job WHERE id = next.id OFFSET 0) AS job ON true WHERE {given.text} LIMIT %s
        )
        SELECT ARRAY(SELECT id::text FROM found ORDER BY found.{order})
    """  # noqa: S608 - constants
    [(ids,)] = await rows(text, [*told, *stretch.ends, *given.parameters, limit], along_indexes=True)
    found: list[str] = ids
    return found


def _entries(wanted: JobFilter) -> Condition:
    """The ids of the jobs of both, in no order: a job has one status, so none of them twice."""
    queue, kind = list(wanted.queue), list(wanted.kind)
    parts: list[Condition] = []
    for statuses, condition in _CROSSED:
        of_phase = sorted(statuses.intersection(wanted.status or statuses))
        ids = f"SELECT id FROM job WHERE {{}} = ANY(%s::text[]) AND status = ANY(%s::text[]) AND {condition}"  # noqa: S608 - constants
        text = f"({ids.format('queue')} INTERSECT {ids.format('kind')})"
        parts += [Condition(text, [queue, of_phase, kind, of_phase])] if of_phase else []
    if JobStatus.RUNNING in (wanted.status or JobStatus):
        text = f"SELECT id FROM job WHERE queue = ANY(%s::text[]) AND kind = ANY(%s::text[]) AND {PHASES[2]}"  # noqa: S608 - constants
        parts.append(Condition(text, [queue, kind]))
    told = [value for part in parts for value in part.parameters]
    return Condition(" UNION ALL ".join(part.text for part in parts), told)
