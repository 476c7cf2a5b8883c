"""What is counted of every commit: commands, events, leases, runs."""

from collections.abc import Sequence

from jobplane.chassis import metrics
from jobplane.contracts.job_events import (
    AnyJobEvent,
    JobCompleted,
    JobFailed,
    JobOrphaned,
    JobReleased,
    JobStarted,
    JobStopConfirmed,
)
from jobplane.jobs.decider import Rejected
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
    for one in settled:
        if one.wish.delivered is not None:
            outcome = "refused" if isinstance(one.decision, Rejected) else "done"
            metrics.counter("jobplane_commands_total").labels(one.wish.delivered.verb, outcome).inc()
        if one.event is not None:
            metrics.counter("jobplane_events_total").labels("jobs", one.event.TYPE).inc()
            _measure_run(one, one.event)


def _measure_run(one: Settled, event: AnyJobEvent) -> None:
    if isinstance(event, JobStarted):
        metrics.counter("jobplane_leases_total").labels(event.queue).inc()
    end = _ENDS.get(type(event))
    if end is None:
        return
    metrics.counter("jobplane_runs_total").labels(event.queue, end).inc()
    started = one.held.job.started_at if one.held is not None else None
    if started is not None and end in {"completed", "failed"}:
        metrics.histogram("jobplane_run_seconds").labels(event.kind).observe((one.at - started).total_seconds())
