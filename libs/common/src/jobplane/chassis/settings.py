"""Settings of a process: read once from the environment into a frozen value, or the start stops with one plain line."""

import sys
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from jobplane.contracts.subjects import WORKER_PATTERN

_PREFIX = "JOBPLANE_"
_EXIT_USAGE = 2

S = TypeVar("S", bound=BaseSettings)


class ProcessSettings(BaseSettings):
    """What every process of the platform is told; variables carry the prefix ``JOBPLANE_``."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True)

    instance: str = Field(pattern=WORKER_PATTERN)
    """Distinguishes replicas, e.g. ``jobs-1``."""
    nats_url: SecretStr
    """``nats://user:password@host:port``, several separated by commas."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """``debug``, ``info``, ``warning`` or ``error``."""


class ServiceSettings(ProcessSettings):
    """What every service is told."""

    database_url: SecretStr
    """``postgresql://user:password@host:port/database`` of the service's own role."""
    probe_port: int = Field(default=0, ge=0, le=65535)
    """Loopback port of /healthz, /readyz and /metrics; 0 takes any."""


def load(cls: type[S]) -> S:
    """The settings of this process.

    A missing or invalid variable ends the program (status 2) with one line that names the variable, never its value.
    """
    try:
        return cls()
    except ValidationError as error:
        sys.stderr.write(
            f"{'; '.join(_sentence(cls, item['loc'], item['type'], item['msg']) for item in error.errors())}.\n"
        )
        raise SystemExit(_EXIT_USAGE) from None


def _sentence(cls: type[BaseSettings], location: tuple[int | str, ...], kind: str, message: str) -> str:
    name = str(location[0]) if location else "?"
    variable = name if name.isupper() else f"{_PREFIX}{name.upper()}"
    field = cls.model_fields.get(name)
    meaning = f" ({field.description.rstrip('.')})" if field is not None and field.description else ""
    if kind == "missing":
        return f"{variable} is not set{meaning}"
    return f"{variable} is invalid: {message[:1].lower()}{message[1:]}{meaning}"
