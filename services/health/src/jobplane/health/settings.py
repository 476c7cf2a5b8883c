"""What the health service is told at its start."""

from pydantic import Field, SecretStr

from jobplane.chassis.settings import ServiceSettings


class HealthSettings(ServiceSettings):
    """Read once from the environment."""

    reader_nats_url: SecretStr
    """``nats://user:password@host:port`` of the user that reads streams and heartbeats and asks the other services."""
    checkup_every_s: float = Field(default=10, ge=1, le=300)
    """How often the checks are made when nobody asks; `since` is as exact as this."""
