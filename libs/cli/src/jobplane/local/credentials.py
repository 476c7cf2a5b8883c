"""The secrets and ports of one data directory, kept in a file that only its owner may read."""

import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from jobplane.contracts.topology import USERS
from jobplane.local.files import write_private
from jobplane.local.problems import CannotStart

FORMAT = 1
"""The version of the data directory's layout that this program writes."""

OWNER = "jobplane_owner"
SERVICES = ("jobs", "audit", "health", "gateway")


def role_of(service: str) -> str:
    """The database role a service logs in as."""
    return f"jobplane_{service}"


class Credentials(BaseModel):
    """Everything random that a data directory needs to be started again with the same names and addresses."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    format: int = FORMAT
    """Version of the data directory's layout."""
    postgres_password: str
    """Of the embedded server's superuser."""
    roles: dict[str, str]
    """Database role → password: the owner and one per service."""
    nats_users: dict[str, str]
    """NATS user → password."""
    local_password: str
    """Of the account `local`, which the command line on this machine uses."""
    first_password: str | None = None
    """Of the account `admin`, generated and not shown yet."""
    set_up: bool = False
    """Whether the platform was ready once, so that there is an admin."""
    ports: dict[str, int] = {}
    """What listens → the port it had at the last start, kept if it is still free."""


def _secret() -> str:
    return secrets.token_urlsafe(24)


def fresh() -> Credentials:
    """New random secrets."""
    return Credentials(
        postgres_password=_secret(),
        roles={role: _secret() for role in (OWNER, *map(role_of, SERVICES))},
        nats_users={user.name: _secret() for user in USERS},
        local_password=_secret(),
    )


def load_or_create(file: Path) -> Credentials:
    """The secrets of the data directory; new ones if it is new; completed if this version needs more of them.

    Raises CannotStart if a newer version wrote them or the file is damaged.
    """
    if not file.exists():
        known = fresh()
    else:
        known = _load(file)
        new = fresh()
        known = known.model_copy(
            update={"roles": new.roles | known.roles, "nats_users": new.nats_users | known.nats_users}
        )
    save(file, known)
    return known


def _load(file: Path) -> Credentials:
    try:
        known = Credentials.model_validate_json(file.read_text())
    except ValidationError as error:
        message = f"{file} is damaged or was written by another version; restore it, or use another --data directory."
        raise CannotStart(message) from error
    if known.format > FORMAT:
        message = (
            f"{file.parent} was written by a newer version of Jobplane (layout {known.format}, this one knows "
            f"{FORMAT}): update Jobplane, or use another --data directory."
        )
        raise CannotStart(message)
    return known


def save(file: Path, credentials: Credentials) -> None:
    """Write the secrets, mode 0600."""
    write_private(file, credentials.model_dump_json(indent=2))
