"""What an event changed of a job, for people: fields before and after, bodies included where they still are."""

from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue

from jobplane.contracts import instants
from jobplane.contracts.jobs import Change
from jobplane.jobs.job import Job

Texts = Mapping[str, JsonValue]
"""Bodies by reference; an erased one is not there."""

ERASED: Final[dict[str, JsonValue]] = {"erased": True}


def _error(job: Job, texts: Texts) -> JsonValue:
    if job.error_type is None:
        return None
    body = texts.get(job.error_ref or "")
    message = {"message": body.get("message")} if isinstance(body, dict) else {} if job.error_ref is None else ERASED
    return {"type": job.error_type, "fingerprint": job.error_fingerprint, **message}


def _body(ref: str | None, texts: Texts, empty: JsonValue) -> JsonValue:
    return empty if ref is None else texts.get(ref, ERASED)


_SHOWN: Final[Mapping[str, Callable[[Job, Texts], JsonValue]]] = {
    "status": lambda job, _: job.status.value,
    "kind": lambda job, _: job.kind,
    "queue": lambda job, _: job.queue,
    "priority": lambda job, _: job.priority,
    "run_at": lambda job, _: instants.written(job.run_at),
    "max_attempts": lambda job, _: job.max_attempts,
    "timeout_s": lambda job, _: None if job.timeout_ms is None else job.timeout_ms / 1000,
    "tags": lambda job, _: list(job.tags),
    "unique_key": lambda job, _: job.unique_key,
    "asset": lambda job, _: job.asset,
    "cloned_from": lambda job, _: job.cloned_from,
    "payload": lambda job, texts: _body(job.payload_ref, texts, {}),
    "run": lambda job, _: job.run,
    "attempt": lambda job, _: job.attempt,
    "worker": lambda job, _: job.worker,
    "forced": lambda job, _: job.forced,
    "finished_at": lambda job, _: instants.written(job.finished_at) if job.finished_at else None,
    "stop": lambda job, _: job.stop.value if job.stop else None,
    "result": lambda job, texts: _body(job.result_ref, texts, None),
    "error": _error,
}
"""Field of the view → what it shows; in the order in which people read."""

_REFERENCES: Final[Mapping[str, str]] = {"payload": "payload_ref", "result": "result_ref", "error": "error_ref"}


def changes(before: Job | None, after: Job, texts: Texts) -> list[Change]:
    """What is otherwise; of a job that was just created, what it begins with."""
    if before is None:
        told = ((field, show(after, texts)) for field, show in _SHOWN.items())
        return [Change(field=field, after=value) for field, value in told if value not in (None, 0, [], {})]
    found = []
    for field, show in _SHOWN.items():
        was, now = show(before, texts), show(after, texts)
        reference = _REFERENCES.get(field)
        replaced = reference is not None and getattr(before, reference) != getattr(after, reference)
        if was != now or replaced:
            found.append(Change(field=field, before=was, after=now))
    return found


def references(job: Job | None) -> list[str | None]:
    """The bodies that a job refers to."""
    return [] if job is None else [job.payload_ref, job.result_ref, job.error_ref]
