"""What a writer wants of the ledger, and what became of it."""

from dataclasses import dataclass, field
from datetime import datetime

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor
from jobplane.contracts.commands import AnyDirective
from jobplane.contracts.job_events import AnyJobEvent, ErrorFact
from jobplane.contracts.operations import UndoOperation
from jobplane.jobs.bodies import NewBody
from jobplane.jobs.decider import AnyCommand, Decision, Rejected
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.rows import Held


@dataclass(frozen=True, slots=True)
class Cause:
    """Who caused a wish, and why; without ids of its own it continues those of the job."""

    actor: Actor
    correlation_id: str | None = None
    traceparent: str | None = None
    reason: str | None = None
    causation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a wish has that came as a command: an id to remember its outcome by, and conditions."""

    command_id: str
    verb: str
    expires_at: datetime
    body_digest: str | None = None
    expected_version: int | None = None


@dataclass(slots=True)
class Wish:
    """One thing to decide; its event, if it comes to one, has the id `event_id`."""

    command: AnyCommand
    cause: Cause
    event_id: str = field(default_factory=new_id)
    body: NewBody | None = None
    """The body that the event will refer to."""
    error: ErrorFact | None = None
    """Prepared for a timeout or an orphaning."""
    delivered: Delivered | None = None
    flaw: Rejected | None = None
    """Why it is refused, whatever its job is like."""
    lease_request: str | None = None
    fences: str | None = None
    """Token of the run that this ends from outside: its worker is told."""

    @property
    def target(self) -> tuple[str, str]:
        """What it is about: sort and id."""
        return "job", self.command.job_id


@dataclass(slots=True)
class Directive:
    """A delivered command about what is no job; see `directives`."""

    command: AnyDirective
    cause: Cause
    delivered: Delivered

    @property
    def target(self) -> tuple[str, str]:
        """What it is about: sort and id; an undo is about the operation that it takes back."""
        if isinstance(self.command, UndoOperation):
            return self.command.TARGET, self.command.undo_of
        return self.command.TARGET, self.command.target


@dataclass(slots=True)
class Settled:
    """What became of a wish."""

    wish: Wish
    decision: Decision | Stored
    at: datetime
    """When it was decided, by the clock of the database."""
    held: Held | None
    """The job as it is afterwards, if there is one."""
    event: AnyJobEvent | None = None
    position: int | None = None
