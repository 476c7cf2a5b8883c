"""One example of each answer, for the documentation; a test holds them against their models."""

from typing import Any, Final

_JOB_ID: Final = "01920a3c-7f00-7a00-8000-0123456789ab"
_COMMAND_ID: Final = "01920a3d-1200-7c00-9000-ba9876543210"
_ACCOUNT_ID: Final = "01920a3c-0000-7000-8000-000000000001"
_ASSET_ID: Final = "01920a3b-5500-7b00-a000-00000000a55e"
_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_AT: Final = "2026-11-22T12:00:00.123456Z"

_LIST_ITEM: Final[dict[str, Any]] = {
    "id": _JOB_ID,
    "kind": "image.thumbnail",
    "queue": "default",
    "status": "FAILED",
    "priority": 0,
    "run": 5,
    "attempt": 5,
    "max_attempts": 5,
    "run_at": _AT,
    "created_at": _AT,
    "started_at": _AT,
    "finished_at": _AT,
    "version": 11,
    "position": 4711,
    "error": {
        "type": "UnreadableImage",
        "message": "The file is cut off: it ends in the middle of the picture.",
        "fingerprint": "9f86d081884c7d65",
    },
    "tags": ["holiday"],
    "unique_key": None,
    "progress": 0.4,
    "worker": "worker-1",
    "asset": _ASSET_ID,
    "trace_id": _TRACE,
    "timeout_s": 30.0,
    "forced": False,
    "cloned_from": None,
    "stop": None,
    "archived_at": None,
    "stopping": None,
}
_JOB: Final[dict[str, Any]] = _LIST_ITEM | {
    "payload": {"side": 320},
    "result": None,
    "error": _LIST_ITEM["error"] | {"stack": 'File "thumbnail.py", line 12, in thumbnail'},
}
_RETRIED: Final[dict[str, Any]] = _JOB | {
    "status": "PENDING",
    "attempt": 0,
    "finished_at": None,
    "version": 12,
    "position": 4712,
    "error": None,
    "progress": None,
}
_QUEUE: Final[dict[str, Any]] = {
    "queue": "mail",
    "kind": None,
    "state": "draining",
    "running": 2,
    "paused": {
        "at": _AT,
        "by": {"id": _ACCOUNT_ID, "kind": "user", "role": "ADMIN", "origin": None},
        "by_name": "admin",
        "reason": "the mail server is replaced",
        "drain": True,
    },
    "limits": {
        "concurrency": 5,
        "rate": {"starts": 10, "every_s": 60, "burst": 10},
        "at": _AT,
        "by": {"id": _ACCOUNT_ID, "kind": "user", "role": "ADMIN", "origin": None},
        "by_name": "admin",
        "reason": "the mail server asks us to slow down",
    },
    "version": 3,
    "known": True,
}
_QUEUE_VIEW: Final[dict[str, Any]] = _QUEUE | {
    "pending": 1203,
    "due": 1000,
    "due_more": True,
    "oldest_at": _AT,
    "throughput": {"window_s": 270.0, "started": 918, "completed": 900, "failed": 18, "per_minute": 204.0},
    "workers": 3,
}
_KIND: Final[dict[str, Any]] = _QUEUE | {
    "queue": None,
    "kind": "image.thumbnail",
    "state": "paused",
    "paused": _QUEUE["paused"] | {"drain": False},
    "limits": None,
    "version": 1,
    "known": True,
}
_DEAD_LETTER: Final[dict[str, Any]] = {
    "seq": 17,
    "at": _AT,
    "service": "jobs",
    "what": "command",
    "reason": "failed 5 times alone: DataError",
    "subject": "jobs.cmd.producer.create",
    "position": None,
    "size_bytes": 512,
    "replayable": True,
}
_DEAD_EVENT: Final[dict[str, Any]] = _DEAD_LETTER | {
    "seq": 16,
    "service": "audit",
    "what": "EVT_JOBS",
    "reason": "unknown event type job.moved.v1",
    "subject": None,
    "position": 4711,
}
_ACTOR: Final[dict[str, Any]] = {"id": _ACCOUNT_ID, "kind": "user", "role": "ADMIN", "origin": None}
_OPERATION_IN_LIST: Final[dict[str, Any]] = {
    "id": "01920a40-0000-7000-8000-00000000b01c",
    "action": "retry",
    "status": "done",
    "actor": _ACTOR,
    "actor_name": "anna",
    "reason": "the disk is full no longer",
    "requested_at": _AT,
    "planned_at": _AT,
    "started_at": _AT,
    "ended_at": _AT,
    "as_of": 4711,
    "total": 2,
    "done": 1,
    "skipped": 1,
    "codes": {"job_not_failed": 1},
    "skipping": {"job_not_failed": 1},
}
_OPERATION: Final[dict[str, Any]] = _OPERATION_IN_LIST | {
    "breakdown": {
        "status": {"FAILED": 1, "RUNNING": 1},
        "queue": {"default": 2},
        "kind": {"image.thumbnail": 2},
        "error": {"9f86d081884c7d65": 1},
        "error_types": {"9f86d081884c7d65": "UnreadableImage"},
    },
    "sample": [_JOB_ID],
    "undo": {
        "action": "cancel",
        "possible": 1,
        "impossible": 0,
        "codes": {},
        "estimated": False,
        "by": None,
        "why": "Jobs that have not started since are cancelled; what started is not called back.",
    },
}

_ERROR_GROUP: Final[dict[str, Any]] = {
    "fingerprint": "9f86d081884c7d65",
    "type": "UnreadableImage",
    "message": "The file is cut off: it ends in the middle of the picture.",
    "count": 17,
    "failed_now": 4,
    "trend": [0] * 20 + [3, 9, 0, 5],
    "first_at": "2026-11-22T08:15:00.654321Z",
    "last_at": _AT,
    "kinds": ["image.thumbnail"],
    "queues": ["default"],
    "sample_job": _JOB_ID,
    "jobs_url": "/api/admin/jobs?fingerprint=9f86d081884c7d65",
}

EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "ErrorGroupPage": {"items": [_ERROR_GROUP], "next_cursor": "bGFzdF9zZWVu"},
    "ErrorGroupView": _ERROR_GROUP
    | {
        "stack": 'File "thumbnail.py", line 12, in thumbnail',
        "jobs": [
            {
                "id": _JOB_ID,
                "kind": "image.thumbnail",
                "queue": "default",
                "status": "FAILED",
                "attempt": 5,
                "max_attempts": 5,
                "started_at": _AT,
                "finished_at": _AT,
                "worker": "worker-1",
            }
        ],
    },
    "JobView": _JOB,
    "JobListPage": {"items": [_LIST_ITEM], "next_cursor": "MDE5MjBhM2M", "indexed_to": 4711, "behind": 0},
    "JobCount": {"count": 440000, "relation": "estimate", "at_least": 10000, "indexed_to": 4711, "behind": 0},
    "Controlled": {"job": _RETRIED, "position": 4712, "command_id": _COMMAND_ID},
    "Accepted": {"command_id": _COMMAND_ID, "status_url": f"/api/admin/commands/{_COMMAND_ID}"},
    "CommandStatus": {
        "command_id": _COMMAND_ID,
        "status": "done",
        "code": None,
        "detail": None,
        "job": _RETRIED,
        "position": 4712,
        "facts": {},
    },
    "QueueControl": _KIND,
    "QueueControlled": {"queue": _QUEUE, "position": 4712, "command_id": _COMMAND_ID},
    "QueueView": _QUEUE_VIEW,
    "QueueList": {"queues": [_QUEUE_VIEW], "kinds": [_KIND], "position": 4712},
    "History": {
        "items": [
            {
                "position": 4712,
                "version": 12,
                "type": "job.retried.v1",
                "at": _AT,
                "actor": _ACTOR,
                "actor_name": "anna",
                "reason": "the file was uploaded again",
                "command_id": _COMMAND_ID,
                "operation_id": None,
                "trace_id": _TRACE,
                "before": "FAILED",
                "after": "PENDING",
                "data": {"run_at": _AT},
                "changes": [
                    {"field": "status", "before": "FAILED", "after": "PENDING"},
                    {"field": "attempt", "before": 5, "after": 0},
                ],
            }
        ],
        "next_cursor": None,
    },
    "Attempts": {
        "items": [
            {
                "run": 5,
                "attempt": 5,
                "worker": "worker-1",
                "started_at": _AT,
                "ended_at": _AT,
                "outcome": "failed",
                "error": _LIST_ITEM["error"] | {"stack": None},
                "stop": None,
                "stop_signalled_at": None,
                "stop_settled_at": None,
            }
        ],
        "next_cursor": None,
    },
    "Stats": {
        "by_status": {"PENDING": 3, "RUNNING": 2, "COMPLETED": 1204, "FAILED": 7, "CANCELLED": 1},
        "queues": [{"queue": "default", "pending": 3, "running": 2, "oldest_at": _AT}],
        "position": 4712,
    },
    "OperationView": _OPERATION,
    "OperationPage": {"items": [_OPERATION_IN_LIST], "next_cursor": "MDE5MjBhNDA"},
    "OperationItems": {
        "items": [
            {"n": 1, "job_id": _JOB_ID, "outcome": "done", "code": None, "version": 12, "position": 4712},
            {
                "n": 2,
                "job_id": "01920a3c-7f00-7a00-8000-0123456789ac",
                "outcome": "skipped",
                "code": "job_not_failed",
                "version": None,
                "position": None,
            },
        ],
        "next_cursor": "MC4y",
    },
    "AuditPage": {
        "items": [
            {
                "position": 5120,
                "source": "EVT_JOBS",
                "source_position": 4712,
                "at": _AT,
                "action": "JOB_RETRY",
                "actor": _ACTOR | {"name": "admin", "address": "127.0.0.1"},
                "reason": "the file was uploaded again",
                "target": {"type": "job", "id": _JOB_ID},
                "before": "FAILED",
                "after": "PENDING",
                "outcome": "accepted",
                "code": None,
                "command": None,
                "command_id": _COMMAND_ID,
                "operation_id": None,
                "correlation_id": _COMMAND_ID,
                "trace_id": _TRACE,
                "count": 1,
            },
            {
                "position": 5119,
                "source": "EVT_JOBS",
                "source_position": 4711,
                "at": _AT,
                "action": "COMMAND_REFUSED",
                "actor": _ACTOR | {"name": "admin", "address": "127.0.0.1"},
                "reason": None,
                "target": {"type": "job", "id": _JOB_ID},
                "before": "RUNNING",
                "after": "RUNNING",
                "outcome": "refused",
                "code": "job_not_failed",
                "command": "retry",
                "command_id": _COMMAND_ID,
                "operation_id": None,
                "correlation_id": _COMMAND_ID,
                "trace_id": _TRACE,
                "count": 1,
            },
        ],
        "next_cursor": "NTExOQ",
    },
    "DeadLetterPage": {"items": [_DEAD_LETTER, _DEAD_EVENT], "next_cursor": "bDE2"},
    "DeadLetterDetail": _DEAD_LETTER
    | {
        "headers": {
            "Jobplane-Dead-Reason": "failed 5 times alone: DataError",
            "Jobplane-Dead-Subject": "jobs.cmd.producer.create",
        },
        "text": f'{{"command_id":"{_COMMAND_ID}","command":{{"type":"create","kind":"mail.send"}}}}',
        "truncated": False,
        "content": {"command_id": _COMMAND_ID, "command": {"type": "create", "kind": "mail.send"}},
        "command_id": _COMMAND_ID,
    },
    "DeadLetterReplayed": {
        "seq": 17,
        "command_id": _COMMAND_ID,
        "status": "done",
        "code": None,
        "detail": None,
        "job_id": _JOB_ID,
        "position": 4713,
    },
    "DeadLetterDiscarded": {"seq": 17},
    "DetailedHealth": {
        "status": "ok",
        "generated_at": _AT,
        "services": [],
        "workers": [],
        "checks": [
            {
                "name": "postgres.latency",
                "status": "ok",
                "value": 0.4,
                "threshold": 50,
                "since": _AT,
                "advice": "Milliseconds for one round trip; when slow, look at the load and the disk of the database.",
            }
        ],
        "throughput": [{"minute": _AT, "created": 60, "started": 61, "completed": 57, "failed": 3, "error_rate": 0.05}],
    },
    "Me": {"id": _ACCOUNT_ID, "name": "admin", "role": "SUPERADMIN", "kind": "user", "expires_at": _AT},
    "Bearer": {"token": "jp_3q2-7wAAfLx0b1cR9eZk4mYw8uTn6vQs2pGh5iJd1oE", "expires_at": _AT},
    "Asset": {
        "id": _ASSET_ID,
        "name": "photo.jpg",
        "content_type": "image/jpeg",
        "size_bytes": 2483201,
        "url": f"/api/admin/assets/{_ASSET_ID}",
        "thumbnail_url": f"/api/admin/assets/{_ASSET_ID}/thumbnail",
    },
}
"""By the name of the model."""
