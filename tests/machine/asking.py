"""What people and workers of the machine may say: drawn from what there is just now, and told to model and service."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, get_args

from hypothesis import strategies as st

from jobplane.contracts.commands import AnyCommand
from jobplane.contracts.envelope import CommandMessage
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import DoneItem, ReportedError
from tests.machine import service
from tests.machine.model import Asked, Model

QUEUES: Final = ("quick", "slow")
KINDS: Final = ("test.a", "test.b")
PAYLOADS: Final[tuple[dict[str, Any], ...]] = ({}, {"n": 1}, {"n": 2})
REPORTS: Final = st.sampled_from(
    [
        ("completed", "", False),
        ("failed", "First", False),
        ("failed", "First", True),
        ("failed", "Second", False),
        ("released", "", False),
        ("cancelled", "", False),
    ]
)
"""Outcome, error, whether another attempt may help."""
Says = tuple[str, str, dict[str, Any], int | None]
"""Verb, target, what it says, expected version."""
_JOB_VERBS: Final = ("create", "retry", "retry", "cancel", "cancel", "run", "restore", "restore", "edit", "edit")
_FITS: Final = {"retry": "FAILED", "cancel": "RUNNING", "run": "PENDING", "restore": "CANCELLED", "edit": "PENDING"}


def creation(data: st.DataObject, model: Model, new: Callable[[], str]) -> tuple[str, str, dict[str, Any]]:
    """A job to make; some are copies of others."""
    later = data.draw(st.sampled_from([None, None, None, timedelta(seconds=20), timedelta(days=1)]))
    says = {
        "kind": data.draw(st.sampled_from(KINDS)),
        "queue": data.draw(st.sampled_from(QUEUES)),
        "priority": data.draw(st.sampled_from([0, 0, 5])),
        "run_at": None if later is None else model.now + later,
        "max_attempts": data.draw(st.sampled_from([1, 1, 2, 3])),
        "timeout_ms": data.draw(st.sampled_from([None, None, 10_000])),
        "unique_key": data.draw(st.sampled_from([None, None, "k"])),
        "payload": data.draw(st.sampled_from(PAYLOADS)),
        "cloned_from": data.draw(st.sampled_from([None, *list(model.jobs)[-2:]])),
    }
    return "create", new(), says


def command(data: st.DataObject, model: Model, new: Callable[[], str], about: str) -> Says:
    """Any command."""
    if about == "jobs":
        return _of_job(data, model, new)
    if about == "queues":
        return _of_queue(data)
    return _of_operation(data, model, new)


def _of_job(data: st.DataObject, model: Model, new: Callable[[], str]) -> Says:
    verb = data.draw(st.sampled_from(_JOB_VERBS))
    if verb == "create":
        return (*creation(data, model, new), None)
    everybody = [*model.jobs, *list(model.gone)[-1:], new()]
    fitting = [job["id"] for job in model.jobs.values() if job["status"] == _FITS[verb]]
    target = data.draw(st.sampled_from(fitting * 3 + everybody))
    says = _edit(data, model, of_many=False) if verb == "edit" else {}
    known = model.jobs.get(target)
    versions = [None, None, None, *([known["version"], known["version"] - 1] if known else [])]
    return verb, target, says, data.draw(st.sampled_from(versions))


def _edit(data: st.DataObject, model: Model, *, of_many: bool) -> dict[str, Any]:
    """At least one change."""
    at = data.draw(st.sampled_from([None, None, model.now - timedelta(hours=1), model.now + timedelta(seconds=20)]))
    says = {
        "queue": data.draw(st.sampled_from([None, *QUEUES])),
        "priority": data.draw(st.sampled_from([None, None, 0, 9])),
        "max_attempts": data.draw(st.sampled_from([None, None, 1, 4])),
        "run_at": at,
    }
    if not of_many:
        says["payload"] = data.draw(st.sampled_from([None, None, *PAYLOADS]))
    elif all(value is None for value in says.values()):
        says["priority"] = 7
    return says


def _of_queue(data: st.DataObject) -> Says:
    verb = data.draw(st.sampled_from(["pause_queue", "pause_queue", "resume_queue", "resume_queue", "limit_queue"]))
    sort = data.draw(st.sampled_from(["queue", "queue", "kind"]))
    name = data.draw(st.sampled_from(QUEUES if sort == "queue" else KINDS))
    says: dict[str, Any] = {"sort": sort, "name": name}
    if verb == "pause_queue":
        says["drain"] = data.draw(st.booleans())
    elif verb == "limit_queue":
        rate = data.draw(st.sampled_from([None, None, (1, 10, 1), (2, 60, 3)]))
        says["limits"] = {"concurrency": data.draw(st.sampled_from([None, 1, 2])), "rate": rate}
    return verb, "", says, None


def _of_operation(data: st.DataObject, model: Model, new: Callable[[], str]) -> Says:
    known = list(model.operations.known)
    verbs = ["plan_operation"] * 3
    if known:
        verbs += ["undo_operation", "undo_operation", "run_operation", "run_operation", "pause_operation"]
        verbs += ["resume_operation", "stop_operation"]
    verb = data.draw(st.sampled_from(verbs))
    if verb == "plan_operation":
        return verb, new(), _plan(data, model, new), None
    if verb == "undo_operation":
        ended = [one.id for one in model.operations.known.values() if one.status in {"done", "stopped"}]
        undo_of = data.draw(st.sampled_from(ended * 3 + [*known, new()]))
        facts = {"action": "", "ids": None, "filter": None, "edit": None, "undo_of": undo_of}
        return verb, new(), facts | _how(data), None
    wanted = {"run_operation": "planned", "pause_operation": "running", "resume_operation": "paused"}.get(verb)
    fitting = [one.id for one in model.operations.known.values() if one.status == wanted]
    target = data.draw(st.sampled_from(fitting * 3 + [*known, new()]))
    says = {"max_drift": data.draw(st.sampled_from([None, None, 0, 2]))} if verb == "run_operation" else {}
    return verb, target, says, None


def _how(data: st.DataObject) -> dict[str, Any]:
    return {
        "rate": data.draw(st.sampled_from([None, None, None, 2.0])),
        "then_run": data.draw(st.sampled_from([True, True, False])),
    }


def _plan(data: st.DataObject, model: Model, new: Callable[[], str]) -> dict[str, Any]:
    action = data.draw(st.sampled_from(["retry", "cancel", "cancel", "run", "restore", "edit"]))
    ids: list[str] | None = None
    wanted: dict[str, Any] | None = None
    if data.draw(st.booleans()):
        ids = data.draw(st.lists(st.sampled_from([*model.jobs, *list(model.gone)[-1:], new()]), min_size=1, max_size=9))
    else:
        of_status: dict[str, Any] = {"status": [_FITS[action]]}
        others = [{"queue": [QUEUES[0]]}, {"kind": [KINDS[0]]}, {"queue": list(QUEUES)}]
        wanted = data.draw(st.sampled_from([of_status, *others]))
    edit = _edit(data, model, of_many=True) if action == "edit" else None
    return {"action": action, "ids": ids, "filter": wanted, "edit": edit} | _how(data)


def message(asked: Asked) -> CommandMessage:
    """The command as it is on the bus."""
    facts = {
        "command_id": asked.id,
        "reason": asked.reason,
        "expires_at": asked.expires_at,
        "expected_version": asked.expected_version,
        "body_digest": "0" * 64 if asked.other_body else None,
    }
    return service.message(_command(asked), asked.actor, superadmin=asked.superadmin, facts=facts)


def _command(asked: Asked) -> Any:
    says = {name: value for name, value in asked.says.items() if value is not None}
    kind = next(one for one in _every(AnyCommand) if one.model_fields["type"].default == asked.verb)
    if asked.of_job:
        return kind(job_id=asked.target, **says)
    if asked.verb.endswith("_queue"):
        named = {says.pop("sort"): says.pop("name")}
        if "limits" in says:
            rate = says["limits"]["rate"]
            told = None if rate is None else dict(zip(("starts", "every_s", "burst"), rate, strict=True))
            says["limits"] = {"concurrency": says["limits"]["concurrency"], "rate": told}
        return kind(**named, **says)
    if asked.verb == "undo_operation":
        del says["action"]
    return kind(operation_id=asked.target, **says)


def _every(union: Any) -> list[Any]:
    return [kind for one in get_args(union) for kind in (_every(one) if get_args(one) else [one])]


def done_item(run: tuple[str, str, str], report: tuple[str, str, bool]) -> DoneItem:
    """A worker's report."""
    (job, _, token), (outcome, error, retryable) = run, report
    told: dict[str, Any] = {"job": JobId(job), "token": token, "outcome": outcome}
    if outcome == "failed":
        told["error"] = ReportedError(type=error, message="no", retryable=retryable)
    return DoneItem(**told)
