"""The answers of the REST API that are its own (jobs, audit and health are described in the contracts)."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from jobplane.contracts.actors import ActorKind, Role
from jobplane.contracts.jobs import JobView
from jobplane.contracts.queues import QueueControl


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Accepted(View):
    """A command that is kept and will be decided."""

    command_id: str
    """Its id."""
    status_url: str
    """Where to ask what became of it."""


class Controlled(View):
    """A command that was done."""

    job: JobView | None
    """The job as it is now."""
    position: int | None
    """Position of the last event it caused."""
    command_id: str
    """Its id."""


class QueueControlled(View):
    """A command about a queue, or a kind, that was done."""

    queue: QueueControl
    """The queue or kind as it is now."""
    position: int | None
    """Position of the last event it caused."""
    command_id: str
    """Its id."""


class CommandStatus(View):
    """What became of a command."""

    command_id: str
    """Its id."""
    status: Literal["pending", "done", "refused"]
    """`pending` while it is not decided."""
    code: str | None = None
    """Why it was refused, or `already_exists`."""
    detail: str | None = None
    """The same for people."""
    job: JobView | None = None
    """The job after it."""
    position: int | None = None
    """Position of the last event it caused."""
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    """What else it tells: what it was about if that is no job, or the facts that stood in the way."""


class Me(View):
    """Who is logged in."""

    id: str
    """Id of the account: the actor of everything done with it."""
    name: str
    """Its name."""
    role: Role
    """What it may do."""
    kind: ActorKind
    """`user` for a session, `token` for a bearer."""
    expires_at: datetime
    """When to log in again."""


class Bearer(View):
    """A bearer token; it is told once."""

    token: str
    """Send it as `Authorization: Bearer <token>`."""
    expires_at: datetime
    """When it ends."""
