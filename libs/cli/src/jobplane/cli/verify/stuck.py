"""I7: no job waits for something that should have happened long ago."""

from typing import Final, LiteralString

from jobplane.cli.verify.sources import Sources
from jobplane.cli.verify.verdict import Tally

_SERVED: Final[LiteralString] = """
SELECT served_until > clock_timestamp(), extract(epoch FROM clock_timestamp() - served_until)::int FROM beat_service
"""
_COUNT: Final[LiteralString] = """
SELECT (SELECT count(*) FROM job WHERE status = 'RUNNING') + (SELECT count(*) FROM job WHERE ready)
    + (SELECT count(*) FROM job WHERE status = 'PENDING' AND NOT ready AND run_at < clock_timestamp())
    + (SELECT count(*) FROM job WHERE stop = 'pending')
"""
# The loops look every second; a whole lease and ten seconds more is not late but stuck.
_STUCK: Final[LiteralString] = """
WITH clock AS (
    SELECT clock_timestamp() - interval '10 s' AS late, since, served_until > clock_timestamp() AS served
    FROM beat_service
), grace AS (
    SELECT job.*, coalesce(job.lease_ms, 30000) * interval '1 ms' AS lease, late, served, since
    FROM job, clock WHERE status = 'RUNNING' OR stop = 'pending'
)
SELECT id, 'runs without a lease', NULL::timestamptz FROM job WHERE status = 'RUNNING' AND lease_until IS NULL
UNION ALL SELECT id, 'is to be leased, but is not PENDING', NULL FROM job WHERE ready AND status <> 'PENDING'
UNION ALL SELECT id, 'still runs, its lease ended at', lease_until FROM grace
    WHERE status = 'RUNNING' AND served AND greatest(lease_until, since) + lease < late
UNION ALL SELECT id, 'still runs, its time limit was over at', started_at + timeout_ms * interval '1 ms' FROM grace
    WHERE status = 'RUNNING' AND served AND greatest(started_at + timeout_ms * interval '1 ms', since) + lease < late
UNION ALL SELECT id, 'was cancelled, nobody settled its stop since', finished_at FROM grace
    WHERE stop = 'pending' AND served AND greatest(lease_until, finished_at + lease, since + lease) + lease < late
UNION ALL SELECT id, 'is due, but not ready, since', run_at FROM job, clock
    WHERE status = 'PENDING' AND NOT ready AND served AND run_at < late AND since < late
LIMIT 1000
"""

_ADVICE: Final = (
    "The scheduler or rescuer of the jobs service does not do its work: look at its log, and restart it; if the job "
    "is still there afterwards, report it as a bug."
)


async def check(sources: Sources, tally: Tally) -> None:
    """Look at what runs, waits or stops, as the database's clock sees it."""
    async with sources.snapshot("jobs") as conn:
        count = await (await conn.execute(_COUNT)).fetchone()
        tally.expect(count[0] if count else 0)
        served = await (await conn.execute(_SERVED)).fetchone()
        found = await (await conn.execute(_STUCK)).fetchall()
    for job_id, what, since in found:
        tally.violation(
            f"the job {what}" + (f" {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""), f"job {job_id}", _ADVICE
        )
    if served is not None and not served[0]:
        tally.note(f"no beats are served for {served[1]} s (are jobs and bus up?): nothing expires meanwhile")
    tally.advance(count[0] if count else 0)
