"""What clients and workers remember of a run: what they asked, what they were told."""

from collections import defaultdict
from dataclasses import dataclass, field

from jobplane.contracts.envelope import CommandMessage, CommandOutcome
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import LeasedJob


@dataclass(frozen=True, slots=True)
class Reported:
    """A worker told how a run ended, and was answered."""

    worker: str
    run: LeasedJob
    outcome: str
    status: str


@dataclass(slots=True)
class History:
    """Everything that was seen from outside."""

    asked: dict[str, CommandMessage] = field(default_factory=dict)
    """By command id; a message with another body under the same id is not the first, so it is not here."""
    answers: dict[str, list[CommandOutcome]] = field(default_factory=lambda: defaultdict(list))
    leased: list[tuple[str, LeasedJob]] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)
    jobs: list[JobId] = field(default_factory=list)
    """Ids that clients chose or were told, oldest first."""
    versions: dict[JobId, int] = field(default_factory=dict)
    """As the clients saw them last."""
