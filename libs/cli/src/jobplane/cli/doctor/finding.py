"""What one check found; no I/O."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How bad it is; worst last."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """What it belongs to, e.g. ``disk``."""
    name: str
    verdict: Verdict
    says: str
    """What was found."""
    advice: str = ""
    """What to do, one sentence; empty while there is nothing to do."""


@dataclass(frozen=True, slots=True)
class Area:
    """Makes the findings of one area."""

    name: str

    def ok(self, name: str, says: str) -> Finding:
        """Nothing to do."""
        return Finding(self.name, name, Verdict.OK, says)

    def warning(self, name: str, says: str, advice: str) -> Finding:
        """It works, but somebody should look."""
        return Finding(self.name, name, Verdict.WARNING, says, advice)

    def failure(self, name: str, says: str, advice: str) -> Finding:
        """It does not work, or not safely."""
        return Finding(self.name, name, Verdict.FAILURE, says, advice)

    def measured(self, name: str, value: float, says: str, advice: str, *, warn: float, fail: float) -> Finding:
        """By how large a value is: from `warn` and from `fail` on."""
        if value >= fail:
            return self.failure(name, says, advice)
        return self.warning(name, says, advice) if value >= warn else self.ok(name, says)
