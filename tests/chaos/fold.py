"""A job as its events tell it, folded a second time, from docs/state_machine.md, not the code."""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.chaos.evidence import Row

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "state_machine.md"
FINISHED: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_ARROW: Final = re.compile(r"^\s+(\[\*\]|[A-Z]+) --> ([A-Z]+): (.+)$", re.MULTILINE)
_STOPS: Final = {
    "job.stop_confirmed.v1": "confirmed",
    "job.finished_anyway.v1": "finished_anyway",
    "job.stop_unconfirmed.v1": "unconfirmed",
}
_TIMES: Final = frozenset({"run_at", "created_at", "started_at", "finished_at"})
_EMPTY: Final[Row] = {
    "run": 0,
    "attempt": 0,
    "orphanings": 0,
    "forced": False,
    "result_ref": None,
    "error_ref": None,
    "error_type": None,
    "error_fingerprint": None,
    "worker": None,
    "lease_ms": None,
    "started_at": None,
    "finished_at": None,
    "stop": None,
}


class BrokenHistory(Exception):
    """A history that no job can have."""


@cache
def arrows() -> frozenset[tuple[str | None, str, str]]:
    """The diagram of the document: (status before, event type, status after)."""
    found = set()
    for before, after, events in _ARROW.findall(DOCUMENT.read_text()):
        for name in events.split(", "):
            word = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removeprefix("Job")).lower()
            found.add((None if before == "[*]" else before, f"job.{word}.v1", after))
    return frozenset(found)


def fold(events: Iterable[Row]) -> Row:
    """The row that a whole history (oldest first) leads to.

    Raises:
        BrokenHistory: a version is missing, or an event cannot happen in the status before it.
    """
    job: Row = {}
    for event in events:
        told = json.loads(event["data"])
        if event["version"] != job.get("version", 0) + 1:
            raise BrokenHistory(f"version {event['version']} comes after {job.get('version', 0)}")
        step = (job.get("status"), event["type"], told["after"])
        if step not in arrows() or told.get("before") != job.get("status"):
            raise BrokenHistory(f"{event['type']} from {told.get('before')} to {told['after']} after {step[0]}")
        job = _after(job, event, told) | {
            "status": told["after"],
            "version": event["version"],
            "position": event["pos"],
        }
    return job


def _after(job: Row, event: Row, told: Row) -> Row:  # noqa: C901, PLR0911, PLR0912 - one case per event
    match event["type"]:
        case "job.created.v1":
            return _created(event, told)
        case "job.started.v1":
            _next_run(job, told)
            return job | {
                "run": told["run"],
                "attempt": told["attempt"],
                "worker": told["worker"],
                "lease_ms": told["lease_ms"],
                "started_at": event["at"],
                "forced": False,
            }
        case "job.released.v1":
            return _of_run(job, told) | {"attempt": told["attempt"] - 1, "run_at": event["at"]}
        case "job.completed.v1":
            ended = {"orphanings": 0, "finished_at": event["at"], "result_ref": _ref(told.get("result"))}
            return _of_run(job, told) | ended | _no_error()
        case "job.failed.v1":
            return _of_run(job, told) | {"orphanings": 0} | _waits_or_ends(job, event, told) | _error(told["error"])
        case "job.orphaned.v1":
            counted = {"attempt": told["attempt"] - 1, "orphanings": told["orphanings"]}
            error = _error(told["error"]) if told.get("error") else {}
            return _of_run(job, told) | counted | _waits_or_ends(job, event, told) | error
        case "job.retried.v1":
            anew = {"attempt": 0, "orphanings": 0, "run_at": _time(told["run_at"]), "finished_at": None}
            return job | anew | _no_error()
        case "job.cancelled.v1":
            return job | {"forced": False, "finished_at": event["at"], "stop": "pending" if told.get("run") else None}
        case "job.force_run.v1":
            return job | {"run_at": _time(told["run_at"]), "forced": True}
        case "job.restored.v1":
            return job | {"attempt": told["attempt"], "finished_at": None, "stop": None}
        case "job.archived.v1":
            return job
        case "job.edited.v1":
            return job | _edited(job, told)
        case stop:
            late = job["stop"] == "unconfirmed" and _STOPS[stop] != "unconfirmed"
            if job["stop"] != "pending" and not late:
                raise BrokenHistory(f"{stop} where the stop is {job['stop']}")
            return _of_run(job, told) | {"stop": _STOPS[stop]}


def _created(event: Row, told: Row) -> Row:
    keys = ("kind", "queue", "priority", "max_attempts", "timeout_ms", "unique_key", "asset", "cloned_from")
    return (
        _EMPTY
        | {key: told.get(key) for key in keys}
        | {
            "tags": list(told.get("tags") or ()),
            "run_at": _time(told["run_at"]),
            "created_at": event["at"],
            "payload_ref": _ref(told.get("payload")),
        }
    )


def _edited(job: Row, told: Row) -> Row:
    """Each field that an edit names must have been what the edit says that it was."""
    plain = [name for name in told["changed"] if name != "payload"]
    before = {name: _time(told["was"][name]) if name == "run_at" else told["was"][name] for name in plain}
    if any(job[name] != value for name, value in before.items()):
        raise BrokenHistory(f"an edit says that {before} was there")
    now = {name: _time(told["now"][name]) if name == "run_at" else told["now"][name] for name in plain}
    if "run_at" in plain:
        now["forced"] = False
    if "payload" in told["changed"]:
        now["payload_ref"] = _ref(told.get("payload"))
    return now


def _next_run(job: Row, told: Row) -> None:
    if (told["run"], told["attempt"]) != (job["run"] + 1, job["attempt"] + 1):
        raise BrokenHistory(f"run {told['run']}, attempt {told['attempt']} after {job['run']}, {job['attempt']}")


def _of_run(job: Row, told: Row) -> Row:
    if (told["run"], told["worker"]) != (job["run"], job["worker"]):
        raise BrokenHistory(f"run {told['run']} of {told['worker']} ends, but {job['run']} of {job['worker']} is on")
    return job


def _waits_or_ends(job: Row, event: Row, told: Row) -> Row:
    ended = told["after"] in FINISHED
    again = _time(told["retry_at"]) if told.get("retry_at") else job["run_at"]
    return {"run_at": again, "finished_at": event["at"] if ended else None}


def _error(error: Row) -> Row:
    return {
        "error_ref": _ref(error.get("body")),
        "error_type": error["type"],
        "error_fingerprint": error["fingerprint"],
    }


def _no_error() -> Row:
    return {"error_ref": None, "error_type": None, "error_fingerprint": None}


def _ref(body: Row | None) -> str | None:
    return body["ref"] if body else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def differences(told: Row, row: Row) -> dict[str, tuple[Any, Any]]:
    """What the row has otherwise than its events tell: column → (told, there)."""
    return {name: (value, row.get(name)) for name, value in told.items() if _plain(value) != _plain(row.get(name))}


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | list | datetime) or value is None else str(value)
