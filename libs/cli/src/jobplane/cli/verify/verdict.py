"""The invariants by name, and what a look at one of them gives; no I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

INVARIANTS: Final = {
    "I1": "positions are gapless",
    "I2": "the bus equals the journal",
    "I3": "commands and events agree",
    "I4": "one outcome per run",
    "I5": "jobs and counters equal their events",
    "I6": "the audit log is complete",
    "I7": "nobody is stuck",
    "I8": "bodies are whole",
    "I9": "queues and bulk operations equal their events",
}
"""What must be true whatever happened, by the name that `--only` takes."""

KEPT: Final = 20
"""So many violations of one invariant are told one by one, the others counted."""


class Status(StrEnum):
    """What became of an invariant; worst last."""

    OK = "ok"
    UNJUDGED = "unjudged"
    """It could not be looked at to the end."""
    VIOLATED = "violated"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that should not be so."""

    what: str
    where: str
    """Journal and position, or job, command, queue."""
    advice: str


@dataclass(slots=True)
class Tally:
    """Collects what the look at one invariant finds; bounded, however much is wrong."""

    invariant: str
    advanced: Callable[["Tally"], None] = lambda _: None
    """Hears of every step."""
    expected: int = 0
    checked: int = 0
    violations: list[Violation] = field(default_factory=list)
    count: int = 0
    notes: list[str] = field(default_factory=list)
    unjudged: str | None = None
    seconds: float = 0.0

    def expect(self, more: int) -> None:
        """There is so much (more) to look at."""
        self.expected += max(0, more)
        self.advanced(self)

    def advance(self, by: int) -> None:
        """So much (more) was looked at."""
        self.checked += by
        self.advanced(self)

    def violation(self, what: str, where: str, advice: str) -> None:
        """Something is wrong."""
        self.count += 1
        if len(self.violations) < KEPT:
            self.violations.append(Violation(what, where, advice))

    def note(self, sentence: str) -> None:
        """Something that the reader should know, and that is no violation."""
        self.notes.append(sentence)

    @property
    def title(self) -> str:
        """What must be true."""
        return INVARIANTS[self.invariant]

    @property
    def status(self) -> Status:
        """A violation that was found stays one, even where the look could not be finished."""
        if self.count:
            return Status.VIOLATED
        return Status.OK if self.unjudged is None else Status.UNJUDGED

    @property
    def per_second(self) -> float:
        """Things looked at per second; 0 while that means nothing."""
        return self.checked / self.seconds if self.seconds > 0 else 0.0
