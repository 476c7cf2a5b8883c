"""What the ledger asks of whatever keeps the jobs: lock and read in one go, write in one go, all or nothing."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from jobplane.chassis.new_events import NewEvent
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.allowance import Permit
from jobplane.jobs.bodies import NewBody
from jobplane.jobs.error_groups import GroupChange
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.rows import Held

UniqueKey = tuple[str, str]
"""A kind and the unique key of one of its jobs."""


@dataclass(frozen=True, slots=True)
class ById:
    """The jobs of some ids; unknown ones are left out."""

    ids: Sequence[JobId]


@dataclass(frozen=True, slots=True)
class Claimable:
    """Ready jobs of a queue in the order of taking, with their payloads; those that others hold are skipped."""

    queue: str
    kinds: Sequence[str]
    limit: int


class Due(StrEnum):
    """What the rescuer looks for."""

    EXPIRED = "expired"
    """Runs whose lease is over, although beats could be served all the time."""
    OVERDUE = "overdue"
    """Runs that take longer than their job allows."""
    UNSETTLED = "unsettled"
    """Cancelled runs that nobody told the end of for a whole lease."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Jobs that are due for the rescuer; those that others hold are skipped."""

    due: Due
    limit: int


Selection = ById | Claimable | Overdue


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the wishes before the rows are: it is locked, or looked up, with them."""

    command_ids: Sequence[str] = ()
    unique_keys: Sequence[UniqueKey] = ()
    """That a job to create wants."""
    retried: Sequence[JobId] = ()
    """Jobs that may take their unique key again."""
    created: Sequence[JobId] = ()
    """Of jobs to create: perhaps one is archived, which no row tells."""
    starting: Collection[str] = ()
    """Keys of the queues and kinds of jobs that are to start as they are made: see `Controlled`."""


@dataclass(frozen=True, slots=True)
class Found:
    """The locked jobs and what was looked up; `now` is the database's clock after all locks were taken."""

    held: list[Held]
    now: datetime
    stored: Mapping[str, Stored]
    """Outcomes of commands that were decided before, by command id."""
    holders: Mapping[UniqueKey, JobId]
    """Who holds the unique keys that were asked for."""
    permit: Permit | None = None
    """What may start, of a claim where something is paused or limited."""
    archived: Collection[JobId] = ()
    """Those of `Known.created` that are."""


@dataclass(slots=True)
class Changes:
    """What one transaction writes; positions are told as offsets: the first event has 1."""

    now: datetime
    events: Sequence[NewEvent] = ()
    bodies: Sequence[tuple[JobId, NewBody]] = ()
    rows: Sequence[tuple[Held, int]] = ()
    """Jobs as they are now, each with the offset of its last event."""
    outcomes: Sequence[tuple[str, Stored, int | None]] = ()
    """Command id, outcome, and the offset of its event if it has one; sorted by id."""
    counts: Mapping[tuple[str, JobStatus], int] = field(default_factory=dict)
    """How much the counter of a queue and a status moves."""
    groups: Sequence[GroupChange] = ()
    """What becomes of groups of errors."""
    paid: Mapping[str, datetime] = field(default_factory=dict)
    """Until when the rates of limited queues and kinds are paid for, by key."""


class Controlled(Exception):
    """Jobs were to start as they are made, but their queue or kind is paused or limited: nothing was written."""


class Writing(Protocol):
    """One transaction: first `read` or `presume`, then `write`, each at most once."""

    @property
    def head(self) -> int | None:
        """After the block: the position of the last event, if any was written."""

    async def read(self, selection: Selection, known: Known) -> Found:
        """Lock and look up."""

    def presume(self, starting: Collection[str] = ()) -> Found | None:
        """Instead of `read`: nothing is there of what will be written, so nothing is locked and nothing looked up.

        Where that is wrong, the block raises `UniqueViolation`: repeat it with `read`. None: read, this time.
        """

    async def write(self, changes: Changes) -> None:
        """Write everything; it counts when the block has ended without an exception.

        Somebody who was faster with the same command, job or unique key makes the block raise `UniqueViolation`.
        """


class Store(Protocol):
    """Keeps jobs, journal, bodies, outcomes and counters."""

    def transaction(self) -> AbstractAsyncContextManager[Writing]:
        """All of it or nothing.

        Raises:
            Unavailable: the journal is halted.
        """
