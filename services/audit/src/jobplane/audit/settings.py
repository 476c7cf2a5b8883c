"""What the audit service is told at its start."""

from jobplane.chassis.deriving import DerivingSettings


class AuditSettings(DerivingSettings):
    """Read once from the environment."""
