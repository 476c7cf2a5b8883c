"""What each verb answers, for the documentation: the usual example of a model, as it is after that verb."""

from typing import Any, Final

from jobplane.gateway.examples import EXAMPLES

Example = dict[str, Any]

_AT: Final = "2026-11-22T12:00:00.123456Z"
_LATER: Final = "2026-11-22T12:00:01.234567Z"
_NEW_ID: Final = "01920a41-3300-7d00-8000-00000000c0de"
_UNDO_ID: Final = "01920a42-0000-7000-8000-00000000b01d"

_FAILED: Final[Example] = EXAMPLES["JobView"]
_WAITING: Final[Example] = _FAILED | {"status": "PENDING", "finished_at": None, "progress": None, "error": None}
_NEW: Final[Example] = _WAITING | {
    "id": _NEW_ID,
    "run": 0,
    "attempt": 0,
    "started_at": None,
    "worker": None,
    "version": 1,
    "position": 4712,
}
_CONTROLLED_JOBS: Final[dict[str, Example]] = {
    "retry": EXAMPLES["Controlled"]["job"],
    "cancel": _FAILED
    | {
        "status": "CANCELLED",
        "run": 1,
        "attempt": 1,
        "version": 3,
        "error": None,
        "finished_at": _LATER,
        "stop": "pending",
        "stopping": {"requested_at": _LATER, "signalled_at": None, "outcome": "pending", "settled_at": None},
    },
    "run": _NEW | {"id": _FAILED["id"], "version": 2, "forced": True},
    "restore": _WAITING | {"run": 1, "attempt": 0, "version": 5},
    "edit": _FAILED | {"version": 12, "payload": {"side": 640}},
}
JOBS: Final[dict[str, Example]] = {
    verb: EXAMPLES["Controlled"] | {"job": job | {"position": 4712}} for verb, job in _CONTROLLED_JOBS.items()
}
"""By the verb, as `Controlled`."""
CREATED: Final = _NEW
FOUND: Final[Example] = _NEW | {"unique_key": "thumbnail-a55e", "position": 4100}
"""A job that holds the `unique_key` already."""
COPIED: Final[Example] = _NEW | {"cloned_from": _FAILED["id"]}

_QUEUE: Final[Example] = EXAMPLES["QueueControlled"]["queue"]
_PAUSED: Final[Example] = {"state": "paused", "running": 2, "paused": _QUEUE["paused"] | {"drain": False}}
_RESUMED: Final[Example] = {"state": "active", "running": 2, "paused": None}
_CONTROLS: Final[dict[str, Example]] = {
    "pause": _PAUSED | {"limits": None, "version": 1},
    "drain": {"state": "draining", "limits": None, "version": 1},
    "resume": _RESUMED | {"version": 4},
    "limit": _RESUMED | {"limits": _QUEUE["limits"], "version": 1},
}
QUEUES: Final[dict[str, Example]] = {
    verb: EXAMPLES["QueueControlled"] | {"queue": _QUEUE | control} for verb, control in _CONTROLS.items()
}
"""By the verb, as `QueueControlled`."""
KINDS: Final[dict[str, Example]] = {
    verb: told | {"queue": told["queue"] | {"queue": None, "kind": "image.thumbnail"}} for verb, told in QUEUES.items()
}
"""The same of a kind."""

_DONE: Final[Example] = EXAMPLES["OperationView"]
_GOING_ON: Final[Example] = {"ended_at": None, "done": 0, "skipped": 0, "codes": {}, "undo": None}
_PLANNED: Final[Example] = _DONE | _GOING_ON | {"status": "planned", "started_at": None}
_HALFWAY: Final[Example] = {"done": 1, "skipped": 0, "codes": {}}
_REQUESTED: Final[Example] = {
    "status": "planning",
    "planned_at": None,
    "as_of": None,
    "total": None,
    "skipping": {},
    "breakdown": None,
    "sample": [],
    "then_run": True,
}
_UNDO: Final[Example] = {
    "id": _UNDO_ID,
    "action": "cancel",
    "reason": "wrong queue",
    "undo_of": _DONE["id"],
    "skipping": {},
}
OPERATIONS: Final[dict[str, Example]] = {
    "planned": _PLANNED | {"expires_at": "2026-11-23T12:00:00.123456Z"},
    "requested": _PLANNED | _REQUESTED,
    "run": _PLANNED | {"status": "running", "started_at": _LATER},
    "pause": _DONE | _HALFWAY | {"status": "paused", "ended_at": None},
    "resume": _DONE | _HALFWAY | {"status": "running", "ended_at": None, "undo": None},
    "stop": _DONE | _HALFWAY | {"status": "stopped", "ended_at": _LATER},
    "undo planned": _PLANNED
    | _UNDO
    | {
        "total": 1,
        "breakdown": {"status": {"PENDING": 1}, "queue": {"default": 1}, "kind": {"image.thumbnail": 1}, "error": {}},
    },
    "undo requested": _PLANNED | _REQUESTED | _UNDO,
}
"""By what was asked, as `OperationView`."""
