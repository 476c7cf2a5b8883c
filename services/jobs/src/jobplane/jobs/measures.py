"""What is counted of every commit: commands, events, leases, runs."""

from collections import Counter
from collections.abc import Sequence

from jobplane.chassis import metrics
from jobplane.chassis.metrics import CounterName
from jobplane.contracts.job_events import (
    AnyJobEvent,
    JobCompleted,
    JobFailed,
    JobOrphaned,
    JobReleased,
    JobStarted,
    JobStopConfirmed,
)
from jobplane.jobs import outcomes
from jobplane.jobs.wishes import Settled

_ENDS = {
    JobCompleted: "completed",
    JobFailed: "failed",
    JobStopConfirmed: "cancelled",
    JobReleased: "released",
    JobOrphaned: "orphaned",
}


def measure(settled: Sequence[Settled]) -> None:
    """Count what was settled in one transaction."""
    counts: Counter[tuple[CounterName, str, str]] = Counter()
    for one in settled:
        if one.wish.delivered is not None:
            counts["jobplane_commands_total", one.wish.delivered.verb, outcomes.of(one).status] += 1
        if one.event is not None:
            counts["jobplane_events_total", "jobs", one.event.TYPE] += 1
            if isinstance(one.event, JobStarted):
                counts["jobplane_leases_total", one.event.queue, ""] += 1
            elif end := _ENDS.get(type(one.event)):
                counts["jobplane_runs_total", one.event.queue, end] += 1
                _measure_time(one, one.event, end)
    for (name, *labels), n in counts.items():
        metrics.counter(name).labels(*filter(None, labels)).inc(n)


def _measure_time(one: Settled, event: AnyJobEvent, end: str) -> None:
    started = one.held.job.started_at if one.held is not None else None
    if started is not None and end in {"completed", "failed"}:
        metrics.histogram("jobplane_run_seconds").labels(event.kind).observe((one.at - started).total_seconds())
