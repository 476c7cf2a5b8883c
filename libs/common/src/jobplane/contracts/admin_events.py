"""The events of the gateway's journal: accounts, logins, refusals, and what else people do outside jobs."""

from typing import ClassVar, Final

from pydantic import Field

from jobplane.contracts.actors import Role
from jobplane.contracts.ids import JobId
from jobplane.contracts.message import Fact


class AdminEvent(Fact):
    """What every event of the gateway has: a type; the account is the stream."""

    TYPE: ClassVar[str]


class UserCreated(AdminEvent):
    """An account was made; its name and password hash stay in the gateway's tables."""

    TYPE = "user.created.v1"
    role: Role


class PasswordReset(AdminEvent):
    """An account got a new password; its sessions and tokens ended."""

    TYPE = "user.password_reset.v1"


class LoginSucceeded(AdminEvent):
    """Somebody proved who they are."""

    TYPE = "login.succeeded.v1"
    credential: str
    """``session`` for the console, ``token`` for scripts."""


class LoginFailed(AdminEvent):
    """Somebody did not; the name they gave is not told (it may be a password)."""

    TYPE = "login.failed.v1"
    code: str
    """``invalid_credentials`` or ``rate_limited``."""
    account_id: str | None = None
    """The account whose password was not known; none if there is no account of that name, or nobody looked."""
    count: int = Field(default=1, ge=1)
    """How many like it within the minute this stands for."""


class LoggedOut(AdminEvent):
    """Somebody ended their session."""

    TYPE = "login.ended.v1"


class RequestRefused(AdminEvent):
    """The gateway refused a request (401, 403, 429)."""

    TYPE = "command.refused.v1"
    command: str
    """Method and route template, e.g. ``POST /api/admin/jobs/{id}/retry``."""
    code: str
    """Why."""
    target_type: str = "route"
    target_id: str | None = None
    count: int = Field(default=1, ge=1)
    """How many like it within the minute this stands for: after 20, one event sums up the rest."""


class AssetUploaded(AdminEvent):
    """A file was put into the object store."""

    TYPE = "asset.uploaded.v1"
    content_type: str
    size_bytes: int


class JobRevealed(AdminEvent):
    """Somebody saw what is secret in a job; recorded before it is shown."""

    TYPE = "job.revealed.v1"
    job_id: JobId
    job_version: int
    """Its version as it was seen."""


class DeadLetterEvent(AdminEvent):
    """What somebody had done to a dead letter; recorded before it is done, so that nothing is done unrecorded.

    If it turns out to be impossible, a `RequestRefused` follows.
    """

    seq: int = Field(ge=1)
    """Its number in the queue."""
    service: str
    """Who could not process it."""
    what: str
    """What sort of thing it was."""
    subject: str | None = None
    """Where it had been sent, of a command."""
    position: int | None = None
    """Where it stands in its stream, of an event."""
    command_id: str | None = None
    """The command in it, if it names one."""


class DeadLetterInspected(DeadLetterEvent):
    """Somebody saw what a dead letter says, without what is secret in it."""

    TYPE = "dlq.inspected.v1"


class DeadLetterReplayed(DeadLetterEvent):
    """Somebody had a dead letter handed once more to whoever could not process it."""

    TYPE = "dlq.replayed.v1"


class DeadLetterDiscarded(DeadLetterEvent):
    """Somebody had a dead letter deleted."""

    TYPE = "dlq.discarded.v1"


AnyAdminEvent = (
    UserCreated
    | PasswordReset
    | LoginSucceeded
    | LoginFailed
    | LoggedOut
    | RequestRefused
    | AssetUploaded
    | JobRevealed
    | DeadLetterInspected
    | DeadLetterReplayed
    | DeadLetterDiscarded
)

ADMIN_EVENTS: Final[dict[str, type[AnyAdminEvent]]] = {
    event.TYPE: event
    for event in (
        UserCreated,
        PasswordReset,
        LoginSucceeded,
        LoginFailed,
        LoggedOut,
        RequestRefused,
        AssetUploaded,
        JobRevealed,
        DeadLetterInspected,
        DeadLetterReplayed,
        DeadLetterDiscarded,
    )
}
"""Every event of the gateway, by its type."""
