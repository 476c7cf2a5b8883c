"""What a decision may be and what it needs to know: the vocabulary that all decisions share, and every refusal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypedDict

from pydantic import JsonValue

from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import AnyJobEvent, Body, ErrorFact
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.job import Job

REFUSALS: Final[Mapping[str, str]] = {
    "job_not_found": "There is no such job: check the id, or look the job up in the list of jobs.",
    "job_exists": "A job with this id exists already: choose a new id for a new job.",
    "job_archived": "A job with this id was there and is archived: choose a new id for a new job.",
    "job_not_failed": "Only a failed job can be retried: wait until this one has failed, or create a new job.",
    "job_not_pending": "Only a pending job can be started: look at its status, it runs already or is finished.",
    "job_not_due": "The job waits for its time: wait until it is due, or force it to run now.",
    "run_at_too_far": "The time is more than ten years away: choose an earlier one, or leave it out to run at once.",
    "job_finished": "The job is finished, so there is nothing left to cancel: create or retry a job to run it again.",
    "job_not_cancelled": "Only a cancelled job can be restored: look at its status, nothing was cancelled here.",
    "stop_pending": "Its worker has not said yet whether it stopped: wait until that is settled, then restore the job.",
    "job_not_editable": "Only a pending or failed job can be edited: restore a cancelled one first, clone any other.",
    "nothing_to_change": "The job is like that already: give at least one value that is another than now.",
    "max_attempts_too_low": "So many attempts are used already: allow more than that, or leave the number as it is.",
    "unique_key_taken": "Another job that waits or runs holds the unique key: wait for that job, or cancel it first.",
}
"""Every code that `decide` refuses with, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision needs of the world."""

    now: datetime
    jitter: float = 0.5
    """Rolled evenly from 0 to 1."""
    holder: JobId | None = None
    """Who holds the job's unique key now."""
    payload: Body | None = None
    """Payload of a job to create."""
    archived: bool = False
    """A job of this id is archived."""
    error: ErrorFact | None = None
    """Error to record when the command is a timeout or an orphaning; a bare one is used without it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """It happens: record the events, and evolve the job with `Meta.token` set to `token`."""

    events: tuple[AnyJobEvent, ...]
    token: str | None = None
    """The token that the job knows after the start or the end of a run; other events leave its token alone."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The command is not allowed now."""

    code: str
    detail: str
    facts: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """The unique key of a job to create is held by this job: answer with it."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is nothing (more) to do: reported before, or overtaken by events."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The run is fenced: what its worker reports is not taken."""


Decision = Accepted | Rejected | AlreadyThere | Nothing | LeaseLost


class _OfJob(TypedDict):
    queue: str
    kind: str
    before: JobStatus


class _OfRun(_OfJob):
    run: int
    attempt: int
    worker: str


def of_job(state: Job) -> _OfJob:
    """What every event of the job says."""
    return {"queue": state.queue, "kind": state.kind, "before": state.status}


def of_run(state: Job) -> _OfRun:
    """What every event of the job's latest run says (a run has a worker: its start named it)."""
    return {
        "queue": state.queue,
        "kind": state.kind,
        "before": state.status,
        "run": state.run,
        "attempt": state.attempt,
        "worker": state.worker or "",
    }


def happens(event: AnyJobEvent, token: str | None = None) -> Accepted:
    """One event."""
    return Accepted((event,), token)


def refuse(code: str, state: Job | None = None, **facts: JsonValue) -> Rejected:
    """A refusal, with the status of the job among its facts."""
    status: dict[str, JsonValue] = {} if state is None else {"status": state.status.value}
    return Rejected(code, REFUSALS[code], status | facts)
