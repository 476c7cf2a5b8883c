"""What the audit service is told at its start."""

from pydantic import SecretStr

from jobplane.chassis.settings import ServiceSettings


class AuditSettings(ServiceSettings):
    """Read once from the environment."""

    reader_nats_url: SecretStr
    """``nats://user:password@host:port`` of the user that reads the event streams."""
