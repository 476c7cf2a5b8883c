"""The settings of the jobs service."""

from datetime import timedelta

from pydantic import Field, SecretStr, field_validator

from jobplane.chassis.settings import ServiceSettings
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.reasons import DEFAULT, ReasonPolicy
from jobplane.jobs.redaction import DEFAULT_KEYS, Redaction


class Settings(ServiceSettings):
    """What the jobs service is told; its `nats_url` is of the user that answers."""

    intake_nats_url: SecretStr
    """Takes commands, dead-letters, answers outcomes, sends heartbeats (user ``jobs-intake``)."""
    relay_nats_url: SecretStr
    """Publishes the journal (user ``jobs-relay``)."""
    topology_nats_url: SecretStr
    """Creates missing streams (user ``topology``)."""
    pool_size: int = Field(default=10, ge=4, le=100)
    """Database connections at most."""
    lease_ms: int = Field(default=30_000, ge=1_000, le=3_600_000)
    """The lease that workers are expected to ask for: beats count as servable again after an outage for so long."""
    redacted_keys: str = DEFAULT_KEYS
    """Keys of payloads, separated by commas: whatever stands below a key that contains one cannot be searched."""
    search_timeout_ms: int = Field(default=2000, ge=50, le=2500)
    """A search that takes longer is given up; the gateway waits three seconds."""
    bulk_reason_over: int = Field(default=100, ge=0, le=1_000_000_000)
    """A bulk operation on more jobs than this needs a reason."""

    retain_completed_days: float = Field(default=30, ge=0, le=36_500)
    """Days after which completed jobs are archived; 0: never."""
    retain_failed_days: float = Field(default=90, ge=0, le=36_500)
    """The same for failed ones."""
    retain_cancelled_days: float = Field(default=30, ge=0, le=36_500)
    """The same for cancelled ones."""
    reason_required: str = DEFAULT
    """Verbs, separated by commas, that people must give a reason for; ``edit_payload`` is an edit of a payload."""

    @field_validator("reason_required")
    @classmethod
    def _verbs_are_known(cls, verbs: str) -> str:
        ReasonPolicy.of(verbs.split(","))
        return verbs

    @property
    def retention(self) -> dict[JobStatus, timedelta]:
        """For how long jobs that are over are kept; what is not named is kept for ever."""
        days = {
            JobStatus.COMPLETED: self.retain_completed_days,
            JobStatus.FAILED: self.retain_failed_days,
            JobStatus.CANCELLED: self.retain_cancelled_days,
        }
        return {status: timedelta(days=kept) for status, kept in days.items() if kept}

    @property
    def reasons(self) -> ReasonPolicy:
        """What people must give a reason for."""
        return ReasonPolicy.of(self.reason_required.split(","))

    @property
    def redaction(self) -> Redaction:
        """What nobody may search."""
        return Redaction.of(self.redacted_keys.split(","))
