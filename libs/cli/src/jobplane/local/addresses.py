"""Where the two servers are, and as whom each part of the platform speaks to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit


def as_user(address: str, user: str, password: str) -> str:
    """The same address with other credentials; everything else (host, port, database, options) stays."""
    parts = urlsplit(address)
    hosts = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{hosts}"))


def has_user(address: str) -> bool:
    """Whether the address brings credentials of its own."""
    return "@" in urlsplit(address).netloc


@dataclass(frozen=True, slots=True)
class Addresses:
    """The database (with its administrator) and the bus, embedded or the operator's."""

    database: str
    """With the credentials of whoever may create roles and schemas."""
    nats: str
    """Without a user: each purpose has its own. An operator's address that names one is used by every part as it is."""
    roles: Mapping[str, str]
    """Database role → password."""
    nats_users: Mapping[str, str]
    """NATS user → password."""

    def database_as(self, role: str) -> str:
        """For one database role."""
        return as_user(self.database, role, self.roles[role])

    def nats_as(self, user: str) -> str:
        """For one NATS user."""
        return self.nats if has_user(self.nats) else as_user(self.nats, user, self.nats_users[user])
