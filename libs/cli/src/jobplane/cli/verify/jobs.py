"""I5: every job's row is what its events say, and counters and error groups are what counting says."""

from collections.abc import Sequence
from typing import Any, Final, LiteralString

from jobplane.cli.verify.histories import EVENTS, scopes, with_scope
from jobplane.cli.verify.sources import Sources
from jobplane.cli.verify.verdict import Tally

_COMPARED: Final = ("version", "position", "status", "run", "attempt", "orphanings", "queue", "kind", "stop", "forced")
"""Columns that follow from the events alone; the order of both halves of a row of `_ROWS`."""

# What each event does to a job: docs/state_machine.md, and for attempt, orphanings and stop the body of the event.
_ROWS: Final[LiteralString] = f"""
WITH {EVENTS}, told AS (
    SELECT stream_id, bool_or(type = 'job.archived.v1') AS archived, count(*) AS events, max(version) AS version,
        max(pos) AS position,
        (array_agg(data ->> 'after' ORDER BY version DESC))[1] AS status,
        coalesce(max((data ->> 'run')::int) FILTER (WHERE type = 'job.started.v1'), 0) AS run,
        (array_agg(CASE
            WHEN type IN ('job.created.v1', 'job.retried.v1') THEN 0
            WHEN type IN ('job.started.v1', 'job.restored.v1') THEN (data ->> 'attempt')::int
            ELSE (data ->> 'attempt')::int - 1
        END ORDER BY version DESC) FILTER (WHERE type IN (
            'job.created.v1', 'job.retried.v1', 'job.started.v1', 'job.released.v1', 'job.orphaned.v1',
            'job.restored.v1'
        )))[1] AS attempt,
        (array_agg(coalesce((data ->> 'orphanings')::int, 0) ORDER BY version DESC) FILTER (WHERE type IN (
            'job.created.v1', 'job.retried.v1', 'job.completed.v1', 'job.failed.v1', 'job.orphaned.v1'
        )))[1] AS orphanings,
        (array_agg(data ->> 'queue' ORDER BY version DESC))[1] AS queue,
        (array_agg(data ->> 'kind' ORDER BY version DESC))[1] AS kind,
        (array_agg(CASE type
            WHEN 'job.cancelled.v1' THEN CASE WHEN data ->> 'run' IS NOT NULL THEN 'pending' END
            WHEN 'job.stop_confirmed.v1' THEN 'confirmed'
            WHEN 'job.finished_anyway.v1' THEN 'finished_anyway'
            WHEN 'job.restored.v1' THEN NULL
            ELSE 'unconfirmed'
        END ORDER BY version DESC) FILTER (WHERE type IN (
            'job.cancelled.v1', 'job.stop_confirmed.v1', 'job.finished_anyway.v1', 'job.stop_unconfirmed.v1',
            'job.restored.v1'
        )))[1] AS stop,
        (array_agg(type = 'job.force_run.v1' ORDER BY version DESC) FILTER (WHERE type IN (
            'job.created.v1', 'job.started.v1', 'job.cancelled.v1', 'job.force_run.v1'
        ) OR data -> 'now' ->> 'run_at' IS NOT NULL))[1] AS forced
    FROM event_of_job GROUP BY stream_id
), kept AS (SELECT * FROM job WHERE {{jobs}})
SELECT coalesce(kept.id, told.stream_id), told.events,
    kept.version, kept.position, kept.status, kept.run, kept.attempt, kept.orphanings, kept.queue, kept.kind,
    kept.stop, kept.forced,
    told.version, told.position, told.status, told.run, told.attempt, told.orphanings, told.queue, told.kind,
    told.stop, told.forced
FROM kept FULL JOIN told ON told.stream_id = kept.id
WHERE NOT (kept.id IS NULL AND told.archived) AND (
    (kept.version, kept.position, kept.status, kept.run, kept.attempt, kept.orphanings, kept.queue, kept.kind,
    kept.stop, kept.forced)
    IS DISTINCT FROM (told.version, told.position, told.status, told.run, told.attempt, told.orphanings, told.queue,
    told.kind, told.stop, told.forced) OR told.events <> told.version)
ORDER BY 1 LIMIT 1000
"""  # noqa: S608 - constants
_COUNTERS: Final[LiteralString] = """
SELECT queue, status, coalesce(kept.n, 0), coalesce(counted.n, 0)
FROM (SELECT queue, status, sum(n) AS n FROM job_count GROUP BY queue, status) AS kept
FULL JOIN (SELECT queue, status, count(*) AS n FROM job GROUP BY queue, status) AS counted USING (queue, status)
WHERE coalesce(kept.n, 0) <> coalesce(counted.n, 0) ORDER BY queue, status LIMIT 1000
"""
_GROUPS: Final[LiteralString] = """
SELECT fingerprint, coalesce(kept.failed_now, 0), coalesce(counted.n, 0) FROM error_group AS kept FULL JOIN (
    SELECT error_fingerprint AS fingerprint, count(*) AS n FROM job
    WHERE status = 'FAILED' AND error_fingerprint IS NOT NULL GROUP BY error_fingerprint
) AS counted USING (fingerprint)
WHERE coalesce(kept.failed_now, 0) <> coalesce(counted.n, 0) ORDER BY fingerprint LIMIT 1000
"""

_ROW_ADVICE: Final = (
    "Something else than the jobs service changed the table, or its code has a bug: the events are the truth, "
    "correct the row after them."
)
_COUNTER_ADVICE: Final = "Screens show the wrong number: stop the jobs service, then set job_count to what was counted."
_GROUP_ADVICE: Final = (
    "The list of errors shows the wrong number: stop the jobs service, then set error_group.failed_now to what was "
    "counted."
)


async def check(sources: Sources, tally: Tally) -> None:
    """Look at every job, then at the counters and the error groups, each in one snapshot."""
    async for conn, scope in scopes(sources, tally):
        query = with_scope(_ROWS, scope)
        for row in await (await conn.execute(query, scope)).fetchall():
            tally.violation(fault(row), f"job {row[0]}", _ROW_ADVICE)
    async with sources.snapshot("jobs") as conn:
        found = await (await conn.execute(_COUNTERS)).fetchall()
        groups = await (await conn.execute(_GROUPS)).fetchall()
    for queue, status, kept, counted in found:
        what = f"the counter of {status} says {kept}, there are {counted}"
        tally.violation(what, f"queue {queue}", _COUNTER_ADVICE)
    for fingerprint, kept, counted in groups:
        what = f"the group says that {kept} jobs are FAILED, there are {counted}"
        tally.violation(what, f"error group {fingerprint}", _GROUP_ADVICE)


def fault(row: Sequence[Any]) -> str:
    """What is wrong with a row of `_ROWS`: id, number of events, the row's columns, what the events say of them."""
    events, kept, told = row[1], row[2 : 2 + len(_COMPARED)], row[2 + len(_COMPARED) :]
    if events is None:
        return "the job has no events"
    if kept[0] is None:
        return f"the job has {events} events, but no row"
    faults = [
        f"{name} is {_shown(ours)}, its events say {_shown(theirs)}"
        for name, ours, theirs in zip(_COMPARED, kept, told, strict=True)
        if ours != theirs
    ]
    if told[0] != events:
        faults.append(f"its history has {events} events, but ends with version {told[0]}")
    return "; ".join(faults)


def _shown(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
