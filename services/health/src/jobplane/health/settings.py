"""What the health service is told at its start."""

from pydantic import Field

from jobplane.chassis.deriving import DerivingSettings


class HealthSettings(DerivingSettings):
    """Read once from the environment."""

    checkup_every_s: float = Field(default=10, ge=1, le=300)
    """How often the checks are made when nobody asks; `since` is as exact as this."""
