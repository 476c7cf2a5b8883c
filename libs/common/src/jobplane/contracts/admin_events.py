"""The events of the gateway's journal: accounts, logins, refusals, and what else people do outside jobs."""

from typing import ClassVar, Final

from pydantic import Field

from jobplane.contracts.actors import Role
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


AnyAdminEvent = UserCreated | PasswordReset | LoginSucceeded | LoginFailed | LoggedOut | RequestRefused | AssetUploaded

ADMIN_EVENTS: Final[dict[str, type[AnyAdminEvent]]] = {
    event.TYPE: event
    for event in (UserCreated, PasswordReset, LoginSucceeded, LoginFailed, LoggedOut, RequestRefused, AssetUploaded)
}
"""Every event of the gateway, by its type."""
