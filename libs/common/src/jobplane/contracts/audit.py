"""The AuditLog as everybody sees it: one entry per event of every journal."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from jobplane.contracts.message import Fact


class AuditAction(StrEnum):
    """What happened, in one word; every event type has exactly one."""

    JOB_CREATED = "JOB_CREATED"
    JOB_STARTED = "JOB_STARTED"
    JOB_COMPLETED = "JOB_COMPLETED"
    JOB_FAILED = "JOB_FAILED"
    JOB_RETRY = "JOB_RETRY"
    JOB_CANCELLED = "JOB_CANCELLED"
    JOB_FORCE_RUN = "JOB_FORCE_RUN"
    JOB_RESTORED = "JOB_RESTORED"
    JOB_EDITED = "JOB_EDITED"
    JOB_ARCHIVED = "JOB_ARCHIVED"
    JOB_RELEASED = "JOB_RELEASED"
    JOB_ORPHANED = "JOB_ORPHANED"
    JOB_STOP_CONFIRMED = "JOB_STOP_CONFIRMED"
    JOB_FINISHED_ANYWAY = "JOB_FINISHED_ANYWAY"
    JOB_STOP_UNCONFIRMED = "JOB_STOP_UNCONFIRMED"
    QUEUE_PAUSED = "QUEUE_PAUSED"
    QUEUE_RESUMED = "QUEUE_RESUMED"
    QUEUE_LIMITED = "QUEUE_LIMITED"
    BULK_REQUESTED = "BULK_REQUESTED"
    BULK_PLANNED = "BULK_PLANNED"
    BULK_STARTED = "BULK_STARTED"
    BULK_PAUSED = "BULK_PAUSED"
    BULK_RESUMED = "BULK_RESUMED"
    BULK_STOPPED = "BULK_STOPPED"
    BULK_FINISHED = "BULK_FINISHED"
    BULK_FAILED = "BULK_FAILED"
    USER_CREATED = "USER_CREATED"
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105 - an action, not a secret
    LOGIN_SUCCEEDED = "LOGIN_SUCCEEDED"
    LOGIN_FAILED = "LOGIN_FAILED"
    LOGGED_OUT = "LOGGED_OUT"
    COMMAND_REFUSED = "COMMAND_REFUSED"
    ASSET_UPLOADED = "ASSET_UPLOADED"
    JOB_REVEALED = "JOB_REVEALED"
    DEAD_LETTER_INSPECTED = "DEAD_LETTER_INSPECTED"
    DEAD_LETTER_REPLAYED = "DEAD_LETTER_REPLAYED"
    DEAD_LETTER_DISCARDED = "DEAD_LETTER_DISCARDED"


class AuditActor(Fact):
    """Who did it."""

    id: str
    """Pseudonymous id."""
    name: str | None = None
    """Filled by the gateway from its accounts; none once erased."""
    role: str | None = None
    """The role they had then."""
    kind: str
    """``user``, ``token``, ``worker``, ``system``, ``agent`` or ``anonymous``."""
    origin: str | None = None
    """Reference to the source address."""
    address: str | None = None
    """Source address, filled by the gateway; none once erased."""


class AuditTarget(Fact):
    """What it was done to."""

    type: str
    """``job``, ``operation``, ``queue``, ``kind``, ``user``, ``asset``, ``dead_letter``, ``command`` or ``route``."""
    id: str | None
    """Its id."""


class AuditItem(Fact):
    """One entry of the AuditLog."""

    position: int
    """The log's own order, gapless from 1: that of recording; what was read late stands where it was read."""
    source: str
    """The stream it was read from, e.g. ``EVT_JOBS``."""
    source_position: int
    """Its position there."""
    at: datetime
    """When it happened."""
    action: AuditAction
    """What happened."""
    actor: AuditActor
    """Who did it."""
    reason: str | None = None
    """Why, in the actor's words."""
    target: AuditTarget
    """What it was done to."""
    before: str | None = None
    """Status before; of a queue's limits and of an edited job what they were, in words."""
    after: str | None = None
    """Status after, or what it is now, in words."""
    outcome: Literal["accepted", "refused"]
    """Whether it was done."""
    code: str | None = None
    """Why it was refused, or the type of the error of a failed run."""
    command: str | None = None
    """What was refused: the verb (``retry``), or the method and route of a request."""
    command_id: str | None = None
    """The command that caused it."""
    correlation_id: str
    """Groups everything that one request caused."""
    trace_id: str
    """W3C trace."""
    operation_id: str | None = None
    """The bulk operation that it is of or about."""
    count: int = 1
    """How many alike refusals this entry sums up; of a bulk operation, how many jobs it has, at its end has changed."""


class AuditPage(Fact):
    """One page, what was recorded last first."""

    items: list[AuditItem]
    """The entries."""
    next_cursor: str | None = None
    """For the next page; none on the last."""


class AuditQuery(Fact):
    """Which entries; filters compose by AND."""

    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = None
    action: list[AuditAction] = Field(default_factory=list)
    actor: str | None = None
    """Actor id."""
    target: str | None = None
    """Target id."""
    outcome: Literal["accepted", "refused"] | None = None
    command_id: str | None = None
    correlation_id: str | None = None
    operation: str | None = None
    """Id of a bulk operation: all that happened to it and to its jobs by it."""
    since: datetime | None = None
    until: datetime | None = None
