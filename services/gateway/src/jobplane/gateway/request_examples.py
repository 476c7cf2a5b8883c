"""Examples of what is sent, for the documentation; a test holds them against their models."""

from collections.abc import Mapping
from typing import Any, Final

_JOB_ID: Final = "01920a3c-7f00-7a00-8000-0123456789ab"
_LATER: Final = "2026-11-22T18:00:00Z"

REQUESTS: Final[Mapping[str, Mapping[str, dict[str, Any]]]] = {
    "NewJob": {
        "as simple as can be": {"kind": "mail.welcome", "payload": {"to": ["ada@example.org"]}},
        "later, at most once, and found again": {
            "kind": "report.monthly",
            "payload": {"month": "2026-11"},
            "queue": "reports",
            "run_at": _LATER,
            "unique_key": "report-2026-11",
            "tags": ["accounting"],
            "max_attempts": 3,
        },
    },
    "Why": {"with a reason": {"reason": "the disk is full no longer"}},
    "Edit": {
        "another payload": {"payload": {"side": 640}, "reason": "the size was wrong"},
        "sooner": {"priority": 10, "run_at": "2026-11-22T12:00:00Z"},
    },
    "Copy": {"the same again": {}, "with another payload": {"payload": {"side": 640}, "reason": "once more, larger"}},
    "BulkWish": {
        "plan only": {"action": "retry", "filter": "status:failed kind:image.* older:2h", "dry_run": True},
        "a plan": {"action": "retry", "plan": "01920a40-0000-7000-8000-00000000b01c", "max_drift": 10},
        "these jobs": {"action": "cancel", "ids": [_JOB_ID], "reason": "ordered twice"},
        "slowly": {"action": "retry", "filter": "status:failed", "rate": 50, "reason": "the mail server is back"},
        "another queue": {"action": "edit", "filter": "status:pending queue:mail", "edit": {"queue": "slow-mail"}},
    },
    "RunWish": {"unless much has changed": {"max_drift": 10, "reason": "the disk is full no longer"}},
    "UndoWish": {"at once": {"reason": "wrong queue"}, "plan only": {"dry_run": True}},
    "NewLimits": {
        "both": {"concurrency": 5, "rate": {"starts": 10, "every_s": 60, "burst": 3}, "reason": "asked to slow down"},
        "none": {"concurrency": None, "rate": None},
    },
    "Login": {"the first account": {"username": "admin", "password": "correct horse battery staple"}},
}
"""By the name of the model, then by what it shows."""
