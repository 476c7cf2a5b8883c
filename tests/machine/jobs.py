"""The jobs of the model: dicts, and what may be done to them, written from the documents, without the product's code.

A function that changes a job gives None, or the code that it is refused with.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

Job = dict[str, Any]

LEASE = timedelta(seconds=30)
FINISHED = {"COMPLETED", "FAILED", "CANCELLED"}
STOPS = {"job.stop_confirmed.v1", "job.finished_anyway.v1", "job.stop_unconfirmed.v1"}
EDITABLE = ("queue", "priority", "max_attempts", "run_at")
MOST_ORPHANINGS = 3


def backoff(attempt: int) -> timedelta:
    """docs/why.md: 2 s, doubled with every attempt, at most an hour; the machine rolls the middle of the jitter."""
    return timedelta(seconds=min(2.0 * 2 ** (max(attempt, 1) - 1), 3600.0))


def new(job_id: str, now: datetime, **wanted: Any) -> Job:
    """A job that was just accepted."""
    run_at = max(wanted.pop("run_at", None) or now, now)
    job: Job = {
        "id": job_id,
        "status": "PENDING",
        "run_at": run_at,
        "run": 0,
        "attempt": 0,
        "orphanings": 0,
        "forced": False,
        "worker": None,
        "stop": None,
        "started_at": None,
        "finished_at": None,
        "error_type": None,
        "token": None,
        "stop_token": None,
        "told": [],
    } | wanted
    happened(job, "created", now)
    return job


def happened(job: Job, what: str, now: datetime) -> None:
    """One more event; a job that waits and is due is ready as soon as anything is written of it."""
    job["told"].append(f"job.{what}.v1")
    job["version"] = len(job["told"])
    job["ready"] = job["status"] == "PENDING" and (job["forced"] or job["run_at"] <= now)


def _clear_error(job: Job) -> None:
    job["error_type"] = None


def key_of(job: Job) -> tuple[str, str] | None:
    """What at most one job that waits or runs may have."""
    return None if job["unique_key"] is None else (job["kind"], job["unique_key"])


def holder(jobs: Iterable[Job], key: tuple[str, str] | None) -> Job | None:
    """Who has it."""
    return next((job for job in jobs if key and key_of(job) == key and job["status"] not in FINISHED), None)


# What people ask for.


def refuses(action: str, job: Job, jobs: Iterable[Job], edit: Job, now: datetime) -> str | None:  # noqa: C901, PLR0911 - one case each
    """Why an action does not fit."""
    status = job["status"]
    match action:
        case "retry":
            if status != "FAILED":
                return "job_not_failed"
        case "cancel":
            return "job_finished" if status in FINISHED else None
        case "run":
            return "job_not_pending" if status != "PENDING" else None
        case "restore":
            if status != "CANCELLED":
                return "job_not_cancelled"
            if job["stop"] == "pending":
                return "stop_pending"
        case "edit":
            if status not in {"PENDING", "FAILED"}:
                return "job_not_editable"
            least = job["attempt"] + (status == "PENDING")
            if edit.get("max_attempts") is not None and edit["max_attempts"] < least:
                return "max_attempts_too_low"
            return None if changes(job, edit, now) else "nothing_to_change"
    return "unique_key_taken" if holder(jobs, key_of(job)) is not None else None


def changes(job: Job, edit: Job, now: datetime) -> Job:
    """What an edit would change, and into what."""
    wanted = {name: edit[name] for name in EDITABLE if edit.get(name) is not None}
    if wanted.get("run_at") == job["run_at"]:
        del wanted["run_at"]
    elif "run_at" in wanted:
        wanted["run_at"] = max(wanted["run_at"], now)
    found = {name: value for name, value in wanted.items() if value != job[name]}
    if edit.get("payload") is not None and (edit["payload"] or job["payload"]):
        found["payload"] = edit["payload"]
    return found


def do(action: str, job: Job, edit: Job, now: datetime) -> Job:
    """Carry out what is not refused; gives what an edit replaced."""
    was: Job = {}
    match action:
        case "retry":
            job |= {"status": "PENDING", "attempt": 0, "orphanings": 0, "run_at": max(job["run_at"], now)}
            job["finished_at"] = None
            _clear_error(job)
            happened(job, "retried", now)
        case "cancel":
            if job["status"] == "RUNNING":
                job |= {"stop": "pending", "stop_token": job["token"], "token": None}
            else:
                job |= {"stop": None, "stop_token": None}
            job |= {"status": "CANCELLED", "forced": False, "finished_at": now}
            happened(job, "cancelled", now)
        case "run":
            job |= {"run_at": now, "forced": True}
            happened(job, "force_run", now)
        case "restore":
            job["attempt"] -= job["stop"] is not None
            job |= {"status": "PENDING", "finished_at": None, "stop": None, "stop_token": None}
            happened(job, "restored", now)
        case "edit":
            found = changes(job, edit, now)
            was = {name: job[name] for name in found}
            job |= found
            if "run_at" in found:
                job["forced"] = False
            happened(job, "edited", now)
    return was


# What happens to runs.


def start(job: Job, worker: str, token: str, now: datetime) -> None:
    """A worker leases it."""
    job |= {"status": "RUNNING", "worker": worker, "token": token, "started_at": now, "forced": False}
    job |= {"run": job["run"] + 1, "attempt": job["attempt"] + 1, "lease_until": now + LEASE}
    happened(job, "started", now)


def report(job: Job | None, token: str, outcome: str, error: str, *, retryable: bool, now: datetime) -> str:
    """What a worker says of a run; gives what it is answered."""
    if job is None:
        return "invalid"
    if job["stop_token"] == token:
        if job["stop"] in {"pending", "unconfirmed"}:
            anyway = outcome in {"completed", "failed"}
            job["stop"] = "finished_anyway" if anyway else "confirmed"
            happened(job, "finished_anyway" if anyway else "stop_confirmed", now)
    elif job["token"] != token:
        return "lease_lost"
    elif job["status"] == "RUNNING":
        _end(job, outcome, error, retryable=retryable, now=now)
    return "accepted"


def _end(job: Job, outcome: str, error: str, *, retryable: bool, now: datetime) -> None:
    if outcome == "completed":
        job |= {"status": "COMPLETED", "orphanings": 0, "finished_at": now}
        _clear_error(job)
        happened(job, "completed", now)
    elif outcome == "failed":
        fail(job, error, retryable=retryable, now=now)
    else:
        job |= {"status": "PENDING", "attempt": job["attempt"] - 1, "run_at": now, "token": None}
        happened(job, "released", now)


def fail(job: Job, error: str, *, retryable: bool, now: datetime) -> None:
    """A run failed."""
    job |= {"orphanings": 0, "error_type": error}
    if retryable and job["attempt"] < job["max_attempts"]:
        job |= {"status": "PENDING", "run_at": now + backoff(job["attempt"])}
    else:
        job |= {"status": "FAILED", "finished_at": now}
    happened(job, "failed", now)


def expire(job: Job, now: datetime) -> str | None:
    """Nobody heard of its worker for a whole lease; gives the error, if that fails it."""
    job |= {"orphanings": job["orphanings"] + 1, "attempt": job["attempt"] - 1, "token": None}
    lost = job["orphanings"] >= MOST_ORPHANINGS
    if lost:
        job |= {"status": "FAILED", "finished_at": now, "error_type": "orphaned"}
    else:
        job |= {"status": "PENDING", "run_at": now + backoff(job["orphanings"])}
    happened(job, "orphaned", now)
    return "orphaned" if lost else None


def is_due(what: str, job: Job, now: datetime) -> bool:
    """Whether the rescuer has to do with it: `expired`, `overdue` or `unsettled`."""
    running = job["status"] == "RUNNING"
    match what:
        case "expired":
            return bool(running and job["lease_until"] < now)
        case "overdue":
            limit = job["timeout_ms"]
            return bool(running and limit and job["started_at"] + timedelta(milliseconds=limit) < now)
        case _:
            return bool(job["stop"] == "pending" and job["finished_at"] + LEASE < now)


def changed_since(job: Job, expected: int | None) -> bool:
    """Whether anything happened to it since that version, but for what its worker told of a stop."""
    if expected is None:
        return False
    return any(event not in STOPS for event in job["told"][expected:])
