"""What a worker process is told."""

import os
import re
import socket
from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from jobplane.chassis.settings import ProcessSettings
from jobplane.contracts.subjects import WORKER_PATTERN, is_queue_name
from jobplane.contracts.workers import DEFAULT_LEASE_MS

MAX_CONCURRENCY: Final = 2048
"""One beat names every job that is held, at most 4,096."""


def _own_name() -> str:
    """A name for a worker that was given none: host and process."""
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname())[:40]
    return f"{host}-{os.getpid()}"


class WorkerSettings(ProcessSettings):
    """Variables carry the prefix ``JOBPLANE_``; ``JOBPLANE_NATS_URL`` is that of the user ``worker``."""

    instance: str = Field(default_factory=_own_name, pattern=WORKER_PATTERN)
    """Distinguishes workers; host and process id where none is given."""
    worker_concurrency: int = Field(default=8, ge=1, le=MAX_CONCURRENCY)
    """How many jobs run at the same time."""
    worker_queues: Annotated[tuple[str, ...], NoDecode] = ("default",)
    """Queues to take jobs from, separated by commas."""
    worker_modules: Annotated[tuple[str, ...], NoDecode] = ("jobplane.images",)
    """Modules that declare handlers, separated by commas."""
    worker_lease_ms: int = Field(default=DEFAULT_LEASE_MS, ge=1_000, le=3_600_000)
    """After so long without a beat a job is given to another worker."""
    worker_drain_s: float = Field(default=3.0, ge=0, le=3600)
    """How long running jobs may take to finish when the worker is asked to end; then they are given back."""

    @field_validator("worker_queues", "worker_modules", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Commas separate; spaces do not count."""
        return tuple(word for word in re.split(r"[,\s]+", value) if word) if isinstance(value, str) else value

    @field_validator("worker_queues")
    @classmethod
    def _named(cls, queues: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [queue for queue in queues if not is_queue_name(queue)]
        if wrong or not queues:
            raise ValueError(
                f"not a queue name: {', '.join(wrong) or 'none given'} (a-z, 0-9, '_' and '-', at most 64)"
            )
        return tuple(dict.fromkeys(queues))
