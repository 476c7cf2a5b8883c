"""The error tree.

JobplaneError
├── Refused          the domain says no: a fact about the request or the state; never retried
├── VersionConflict  somebody else was faster: reload and decide again
├── InvalidMessage   a message that can never be understood: dead-lettered at once
└── Unavailable      a part we need is away: retried, or answered "come back later"
"""

from collections.abc import Mapping

from pydantic import JsonValue


class JobplaneError(Exception):
    """The root of every error that the platform raises on purpose."""


class Refused(JobplaneError):
    """The domain says no; `code` is a snake_case fact.

    `detail` one sentence that says what to do, `facts` what the caller may need.
    """

    def __init__(self, code: str, detail: str, facts: Mapping[str, JsonValue] | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.facts = dict(facts or {})


class VersionConflict(JobplaneError):
    """The aggregate moved on between reading and writing; reload and decide again."""


class InvalidMessage(JobplaneError):
    """The message can never be processed; `str(error)` says why and goes to the dead-letter queue with it."""


class Unavailable(JobplaneError):
    """A part we need does not answer now; `retry_after_s` is a hint for the caller."""

    def __init__(self, detail: str, *, code: str = "unavailable", retry_after_s: int = 2) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s
