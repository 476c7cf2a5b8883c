"""Where the servers of a platform are and as whom to ask them, found without starting or changing anything."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError

from jobplane.cli.failures import Exit, Failed
from jobplane.local.addresses import as_user, has_user
from jobplane.local.credentials import FORMAT, Credentials, role_of
from jobplane.local.data_dir import DataDirectory
from jobplane.local.ports import LOOPBACK

_DATABASE: Final = "jobplane"


@dataclass(frozen=True, slots=True)
class Site:
    """One platform: its data directory, if it has one here, and its two servers."""

    data: DataDirectory
    credentials: Credentials | None
    """None without a data directory: then the addresses are used as they are."""
    database: str
    """Address of the database; the operator's may bring credentials."""
    nats: str
    """Address of the bus; the operator's may bring credentials."""

    def database_as(self, service: str) -> str:
        """The database as the role of one service, which reads its own schema."""
        if self.credentials is None:
            return self.database
        # a password that is not known yet is refused by the server, which says so better than we could
        return as_user(self.database, role_of(service), self.credentials.roles.get(role_of(service), ""))

    def nats_as(self, user: str) -> str:
        """The bus as one user, unless the operator's address names the user for everything."""
        if self.credentials is None or has_user(self.nats):
            return self.nats
        return as_user(self.nats, user, self.credentials.nats_users.get(user, ""))

    def nats_user(self, user: str) -> str:
        """Who `nats_as(user)` really is: inboxes begin with that name."""
        return urlsplit(self.nats).username or user


def find(data: Path) -> Site:
    """The platform of a data directory, else the one of DATABASE_URL and NATS_URL.

    Raises:
        Failed: there is neither, or the credentials cannot be read.
    """
    directory = DataDirectory(data.absolute())
    database, nats = os.environ.get("DATABASE_URL", ""), os.environ.get("NATS_URL", "")
    known = read(directory.credentials)
    if known is not None:
        database = database or f"postgresql://{LOOPBACK}:{known.ports.get('postgres', 0)}/{_DATABASE}"
        nats = nats or f"nats://{LOOPBACK}:{known.ports.get('nats', 0)}"
    elif not (database and nats):
        message = (
            f"No platform was started here ({directory.credentials} is missing): name its --data directory, "
            "or your servers in DATABASE_URL and NATS_URL."
        )
        raise Failed(message, Exit.UNREACHABLE)
    return Site(directory, known, database, nats)


def read(file: Path) -> Credentials | None:
    """The credentials in the file, as they are; none if there is no such file.

    Raises:
        Failed: they cannot be read or understood.
    """
    try:
        known = Credentials.model_validate_json(file.read_text())
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{file} cannot be read ({error.strerror}): run this as the person who ran `jobplane up`."
        raise Failed(message, Exit.UNREACHABLE) from error
    except ValidationError as error:
        message = f"{file} is damaged or was written by another version: restore it from a backup."
        raise Failed(message, Exit.UNREACHABLE) from error
    if known.format > FORMAT:
        message = f"{file} has layout {known.format}, this program knows {FORMAT}: use the newer version of Jobplane."
        raise Failed(message, Exit.UNREACHABLE)
    return known
