"""The files by which other commands find a running platform; only their owner may read them."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from jobplane.contracts.errors import JobplaneError
from jobplane.local.files import write_private


class CommandLine(BaseModel):
    """How the command line reaches the gateway."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    url: str
    """Of the gateway, without a path."""
    username: str
    """The account of this machine."""
    password: str
    """Its password."""


class WorkerConnection(BaseModel):
    """How a worker of your own reaches the bus and the object store."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    nats_url: str
    """With the credentials of the user `worker`."""
    object_store_url: str
    """Where assets are kept."""


class ProducerConnection(BaseModel):
    """How a service of your own enqueues jobs over the bus."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    nats_url: str
    """With the credentials of the user `producer`."""


Connection = TypeVar("Connection", CommandLine, WorkerConnection, ProducerConnection)


class NotRunning(JobplaneError):
    """There is no connection file: nothing was ever started here."""


def write(file: Path, connection: CommandLine | WorkerConnection | ProducerConnection) -> None:
    """Write it, mode 0600."""
    write_private(file, connection.model_dump_json(indent=2))


def read(file: Path, kind: type[Connection]) -> Connection:
    """Read it. Raises NotRunning, with what to do, if it is missing or damaged."""
    try:
        return kind.model_validate_json(file.read_text())
    except FileNotFoundError as error:
        message = (
            f"No platform was started here ({file} is missing): run `jobplane up` first, or name its --data directory."
        )
        raise NotRunning(message) from error
    except PermissionError as error:
        message = f"The right to read {file} is missing: only the person who ran `jobplane up` may use it."
        raise NotRunning(message) from error
    except ValidationError as error:
        message = f"{file} is damaged: start `jobplane up` again, it writes a new one."
        raise NotRunning(message) from error
