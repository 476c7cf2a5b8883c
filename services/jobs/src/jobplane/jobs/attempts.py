"""The runs of a job, and the stop of the last cancelled one, read from its events."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

from jobplane.contracts.job_events import (
    AnyJobEvent,
    ErrorFact,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobFinishedAnyway,
    JobOrphaned,
    JobReleased,
    JobRestored,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import Attempt, JobErrorView, Stopping, StopState
from jobplane.jobs.differences import Texts
from jobplane.jobs.job import Meta

History = Iterable[tuple[AnyJobEvent, Meta]]

_ENDS: Final[dict[type[AnyJobEvent], Literal["completed", "failed", "released", "orphaned", "cancelled"]]] = {
    JobCompleted: "completed",
    JobFailed: "failed",
    JobReleased: "released",
    JobOrphaned: "orphaned",
    JobCancelled: "cancelled",
}
_STOPS: Final[dict[type[AnyJobEvent], StopState]] = {
    JobStopConfirmed: StopState.CONFIRMED,
    JobFinishedAnyway: StopState.FINISHED_ANYWAY,
    JobStopUnconfirmed: StopState.UNCONFIRMED,
}


def attempts_of(history: History, texts: Texts) -> list[Attempt]:
    """One item per run, oldest first; errors with what `texts` has of them."""
    runs: dict[int, Attempt] = {}
    for event, meta in history:
        run = getattr(event, "run", None)
        if isinstance(event, JobStarted):
            runs[event.run] = Attempt(
                run=event.run, attempt=event.attempt, worker=event.worker, started_at=meta.at, outcome="running"
            )
        elif run not in runs:
            continue
        elif (outcome := _ENDS.get(type(event))) is not None:
            ended = {"ended_at": meta.at, "outcome": outcome, "error": _error(_error_of(event), texts)}
            stop = {"stop": StopState.PENDING} if isinstance(event, JobCancelled) else {}
            runs[run] = runs[run].model_copy(update=ended | stop)
        elif (stopped := _STOPS.get(type(event))) is not None:
            heard = _signalled(event, runs[run].ended_at)
            settled = {"stop": stopped, "stop_signalled_at": heard, "stop_settled_at": meta.at}
            runs[run] = runs[run].model_copy(update=settled)
    return list(runs.values())


def error_references(events: Iterable[AnyJobEvent]) -> list[str | None]:
    """The bodies of the errors that these events tell of."""
    errors = [_error_of(event) for event in events]
    return [error.body.ref for error in errors if error is not None and error.body is not None]


def stopping_of(history: Sequence[tuple[AnyJobEvent, Meta]]) -> Stopping | None:
    """How the stop went that the last cancel asked for; none if it cut off no run, or was taken back."""
    found: Stopping | None = None
    for event, meta in history:
        if isinstance(event, JobCancelled):
            found = Stopping(requested_at=meta.at, outcome=StopState.PENDING) if event.run is not None else None
        elif isinstance(event, JobRestored):
            found = None
        elif found is not None and (outcome := _STOPS.get(type(event))) is not None:
            heard = _signalled(event, found.requested_at)
            found = found.model_copy(update={"outcome": outcome, "signalled_at": heard, "settled_at": meta.at})
    return found


def _signalled(event: AnyJobEvent, requested_at: datetime | None) -> datetime | None:
    """When the worker heard of the cancel: never before it, even if the worker's clock is behind."""
    told: datetime | None = getattr(event, "signalled_at", None)
    return told if told is None or requested_at is None else max(told, requested_at)


def _error_of(event: AnyJobEvent) -> ErrorFact | None:
    return event.error if isinstance(event, JobFailed | JobOrphaned) else None


def _error(error: ErrorFact | None, texts: Texts) -> JobErrorView | None:
    if error is None:
        return None
    body = texts.get(error.body.ref) if error.body else None
    message = body.get("message") if isinstance(body, dict) else None
    return JobErrorView(type=error.type, message=str(message or ""), fingerprint=error.fingerprint)
