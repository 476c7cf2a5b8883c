"""Who does something: people, tokens, workers and the system itself, by pseudonymous id."""

from enum import StrEnum

from jobplane.contracts.message import Fact


class Role(StrEnum):
    """What a caller may do; each role includes the one before it."""

    VIEWER = "VIEWER"
    ADMIN = "ADMIN"
    SUPERADMIN = "SUPERADMIN"


class ActorKind(StrEnum):
    """What sort of caller acts."""

    USER = "user"
    TOKEN = "token"  # noqa: S105 - the kind of actor, not a secret
    WORKER = "worker"
    SYSTEM = "system"
    AGENT = "agent"
    ANONYMOUS = "anonymous"


HUMAN_KINDS = frozenset({ActorKind.USER, ActorKind.TOKEN})
"""Kinds that are people, or act for one."""


class Actor(Fact):
    """Who acts, without personal data: names and addresses stay with the gateway and are looked up by id."""

    id: str
    """Pseudonymous id of the account, the worker's instance name, or a fixed word of the system (``scheduler``)."""
    kind: ActorKind
    """What sort of caller this is."""
    role: Role | None = None
    """The role the caller had when acting; none for workers and the system."""
    origin: str | None = None
    """Reference to the source address, kept erasable by the gateway."""


def system(name: str) -> Actor:
    """The actor of a loop or service of the platform itself."""
    return Actor(id=name, kind=ActorKind.SYSTEM)


def worker(name: str) -> Actor:
    """The actor of a worker process."""
    return Actor(id=name, kind=ActorKind.WORKER)


def agent(name: str) -> Actor:
    """The actor of another program that asks something of the platform; only the gateway may name any other."""
    return Actor(id=name, kind=ActorKind.AGENT)
