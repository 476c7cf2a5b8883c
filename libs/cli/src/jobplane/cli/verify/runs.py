"""I4: every run was started once and has at most one accepted outcome."""

from typing import Final, LiteralString

from jobplane.cli.verify.histories import EVENTS, scopes, with_scope
from jobplane.cli.verify.sources import Sources
from jobplane.cli.verify.verdict import Tally

# A cancel ends the run that it fences; what its worker did then is told once more, by a stop outcome.
_RUNS: Final[LiteralString] = f"""
WITH {EVENTS}
SELECT stream_id, run, starts, ends, stops FROM (
    SELECT stream_id, data ->> 'run' AS run,
        count(*) FILTER (WHERE type = 'job.started.v1') AS starts,
        array_agg(pos ORDER BY pos) FILTER (WHERE type IN (
            'job.completed.v1', 'job.failed.v1', 'job.released.v1', 'job.orphaned.v1', 'job.cancelled.v1'
        )) AS ends,
        array_agg(pos ORDER BY pos) FILTER (WHERE type IN ('job.stop_confirmed.v1', 'job.finished_anyway.v1')) AS stops,
        count(*) FILTER (WHERE type = 'job.cancelled.v1') AS cancels
    FROM event_of_job WHERE type IN (
        'job.started.v1', 'job.completed.v1', 'job.failed.v1', 'job.released.v1', 'job.orphaned.v1',
        'job.cancelled.v1', 'job.stop_confirmed.v1', 'job.finished_anyway.v1'
    ) AND data ->> 'run' IS NOT NULL
    GROUP BY stream_id, data ->> 'run'
) AS runs
WHERE starts <> 1 OR cardinality(ends) > 1 OR cardinality(stops) > 1 OR (stops IS NOT NULL AND cancels = 0)
ORDER BY stream_id, run LIMIT 1000
"""  # noqa: S608 - constants

_ADVICE: Final = (
    "The work of this run may have been done or counted twice: look at the job's history, and report it as a bug."
)


async def check(sources: Sources, tally: Tally) -> None:
    """Look at every run of every job."""
    async for conn, scope in scopes(sources, tally):
        query = with_scope(_RUNS, scope)
        for job_id, run, starts, ends, stops in await (await conn.execute(query, scope)).fetchall():
            where = f"job {job_id}, run {run}"
            if starts != 1:
                tally.violation(f"the run was started {starts} times", where, _ADVICE)
            if ends and len(ends) > 1:
                tally.violation(f"the run ended at the positions {_listed(ends)}", where, _ADVICE)
            if stops and len(stops) > 1:
                tally.violation(f"the run has stop outcomes at the positions {_listed(stops)}", where, _ADVICE)
            elif stops and starts == 1 and (not ends or len(ends) == 1):
                tally.violation("the run has a stop outcome, but was not cancelled", where, _ADVICE)


def _listed(positions: list[int]) -> str:
    return ", ".join(map(str, positions))
