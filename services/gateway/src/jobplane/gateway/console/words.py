"""The console's words: how statuses, events, ages, sizes and refusals read on a screen; no I/O, no clock."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

from jobplane.contracts.audit import AuditAction
from jobplane.contracts.job_events import JobEdited
from jobplane.contracts.jobs import FINISHED, Change, HistoryItem, JobStatus, JobView, StopState

STATUS_WORDS: Final[Mapping[JobStatus, str]] = {
    JobStatus.PENDING: "Pending",
    JobStatus.RUNNING: "Running",
    JobStatus.COMPLETED: "Completed",
    JobStatus.FAILED: "Failed",
    JobStatus.CANCELLED: "Cancelled",
}

STOP_WORDS: Final[Mapping[StopState, str]] = {
    StopState.PENDING: "Its worker has been told to stop",
    StopState.CONFIRMED: "Its worker stopped it",
    StopState.FINISHED_ANYWAY: "Its worker had finished before it heard of the cancel",
    StopState.UNCONFIRMED: "Its worker never said whether it stopped",
}

EVENT_WORDS: Final[Mapping[str, str]] = {
    "job.created.v1": "Created",
    "job.started.v1": "Started",
    "job.released.v1": "Given back unfinished",
    "job.completed.v1": "Completed",
    "job.failed.v1": "Failed",
    "job.orphaned.v1": "Lost its worker",
    "job.retried.v1": "Retried",
    "job.cancelled.v1": "Cancelled",
    "job.stop_confirmed.v1": "Stop confirmed",
    "job.finished_anyway.v1": "Had finished anyway",
    "job.stop_unconfirmed.v1": "Stop not confirmed",
    "job.force_run.v1": "Put first in line",
    "job.restored.v1": "Restored",
    "job.edited.v1": "Edited",
    "job.archived.v1": "Archived",
}

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
_SECOND_MS: Final = 1000
_KIB: Final = 1024


def event_word(event_type: str) -> str:
    """An event type as a person would say it; one that is newer than this console keeps its technical name."""
    return EVENT_WORDS.get(event_type, event_type)


def action_word(action: AuditAction | str) -> str:
    """An audit action in words: ``JOB_FORCE_RUN`` → ``Job force run``."""
    return str(action).replace("_", " ").capitalize()


def short_id(identifier: str) -> str:
    """The end of an id: UUIDv7 begin with their time, so neighbours differ only there."""
    return identifier[-8:]


def span(seconds: float) -> str:
    """A duration in its two largest words at most; the browser counts on with the same rule (`ages.js`)."""
    whole = max(0, int(seconds))
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"


def age(instant: datetime, now: datetime) -> str:
    """How long ago, or ``in …`` for what is still to come."""
    seconds = (now - instant).total_seconds()
    return span(seconds) if seconds >= 0 else f"in {span(-seconds)}"


def took(view: JobView) -> str | None:
    """How long the latest run took, for a job that finished one."""
    if view.status not in FINISHED or view.started_at is None or view.finished_at is None:
        return None
    return duration(view.finished_at - view.started_at)


def duration(length: timedelta) -> str:
    """A measured length of time: ``340 ms``, ``2.4 s``, then as `span`."""
    milliseconds = length / timedelta(milliseconds=1)
    if milliseconds < _SECOND_MS:
        return f"{max(0, round(milliseconds))} ms"
    seconds = milliseconds / _SECOND_MS
    return f"{seconds:.1f} s" if seconds < _MINUTE_S else span(seconds)


def instant(moment: datetime) -> str:
    """An instant to the second, in UTC like the logs: ``2026-11-22 13:04:05``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def size(count_bytes: int) -> str:
    """A number of bytes in binary units: ``13 B``, ``3.4 KiB``, ``31.0 MiB``."""
    if count_bytes < _KIB:
        return f"{count_bytes} B"
    if count_bytes < _KIB * _KIB:
        return f"{count_bytes / _KIB:.1f} KiB"
    return f"{count_bytes / _KIB / _KIB:.1f} MiB"


def number(count: int) -> str:
    """A count with thousands apart: ``12,345``."""
    return f"{count:,}"


def event_facts(item: HistoryItem) -> list[tuple[str, str]]:
    """What else an event says, as label and text, in reading order; what is empty or shown elsewhere is left out."""
    if item.type == JobEdited.TYPE:
        return [_change(change) for change in item.changes]
    facts = [(label, _text(item.data.get(name))) for name, label in _EVENT_FACTS.items()]
    shown = {"", item.actor.id, f"{instant(item.at)} UTC"}
    return [(label, text) for label, text in facts if text not in shown]


def event_error(item: HistoryItem) -> tuple[str, str] | None:
    """Type and message of the error that an event tells."""
    error = item.data.get("error")
    return (str(error.get("type", "")), str(error.get("message") or "")) if isinstance(error, dict) else None


_EVENT_FACTS: Final[Mapping[str, str]] = {
    "run": "run",
    "attempt": "attempt",
    "worker": "worker",
    "cause": "cause",
    "outcome": "outcome",
    "orphanings": "times lost",
    "retry_at": "next attempt",
    "run_at": "due",
    "max_attempts": "attempts allowed",
    "priority": "priority",
}


_FIELDS: Final[Mapping[str, str]] = {
    "run_at": "due",
    "max_attempts": "attempts allowed",
    "timeout_s": "seconds a run",
    "forced": "first in line",
}
"""What fields of a job are called, where it is not their name."""


def _change(change: Change) -> tuple[str, str]:
    """A field and what became of it; a payload may be of any size, so that it only says that it changed."""
    if change.field == "payload":
        return "payload", "changed"
    return _FIELDS.get(change.field, change.field), f"{_value(change.before)} → {_value(change.after)}"


def _value(value: JsonValue) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case str():
            return _instant_text(value)
        case _:
            return str(value)


def _text(value: JsonValue) -> str:
    """A fact as text: instants as the console writes them, nothing for nothing."""
    if value is None or value == 0 or isinstance(value, dict | list):
        return ""
    return _instant_text(value) if isinstance(value, str) else str(value)


def _instant_text(text: str) -> str:
    """An ISO instant as the console writes instants; any other text as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{instant(moment)} UTC" if moment.tzinfo else text
