"""What can be asked of the jobs service over the command stream (workers use their own protocol)."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AwareDatetime, Field, JsonValue

from jobplane.contracts import subjects
from jobplane.contracts.ids import JobId
from jobplane.contracts.message import Message
from jobplane.contracts.operations import AnyOperationCommand
from jobplane.contracts.queues import AnyQueueCommand
from jobplane.contracts.subjects import QUEUE_PATTERN

KIND_PATTERN: Final = subjects.KIND_PATTERN
MAX_TAGS: Final = 32
DEFAULT_MAX_ATTEMPTS: Final = 5
MAX_TIMEOUT_S: Final = 7 * 24 * 3600

TAG_PATTERN: Final = r"^[^\s\x00-\x1f,]+$"
Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=TAG_PATTERN)]


class JobCommand(Message):
    """Asks something of one job."""

    TARGET: ClassVar[str] = "job"
    job_id: JobId
    """The job; of a new one chosen by the issuer: UUIDv7."""

    @property
    def target(self) -> str:
        """What it is about."""
        return self.job_id


class CreateJob(JobCommand):
    """Accept a new job; where its unique key is taken the job that holds it is answered instead."""

    type: Literal["create"] = "create"
    kind: str = Field(pattern=KIND_PATTERN)
    """Which handler runs it."""
    payload: dict[str, JsonValue] = Field(default_factory=dict)
    """At most 256 KiB of JSON."""
    queue: str = Field(default="default", pattern=QUEUE_PATTERN)
    """Where workers look for it."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Higher runs first."""
    run_at: AwareDatetime | None = None
    """Not before this instant; at once if left out."""
    max_attempts: int = Field(default=DEFAULT_MAX_ATTEMPTS, ge=1, le=100)
    """How many attempts it may take."""
    timeout_ms: int | None = Field(default=None, ge=100, le=MAX_TIMEOUT_S * 1000)
    """How long one run may take."""
    tags: list[Tag] = Field(default_factory=list, max_length=MAX_TAGS)
    """Words to find it by."""
    unique_key: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
    """At most one PENDING or RUNNING job of this kind may have it."""
    asset: str | None = Field(default=None, max_length=200, pattern=r"^[A-Za-z0-9._/-]+$")
    """A key in the object store, never a path or an address."""
    cloned_from: JobId | None = None
    """The job that this one was copied from."""


class RetryJob(JobCommand):
    """Run a FAILED job again: attempts start over, its history stays."""

    type: Literal["retry"] = "retry"


class CancelJob(JobCommand):
    """Stop a PENDING or RUNNING job; a running one is fenced at once and its worker told."""

    type: Literal["cancel"] = "cancel"


class ForceRunJob(JobCommand):
    """Run a PENDING job now, before all priorities."""

    type: Literal["run"] = "run"


class RestoreJob(JobCommand):
    """Take the cancel of a job back, once it is known what became of its run."""

    type: Literal["restore"] = "restore"


class EditJob(JobCommand):
    """Change a PENDING or FAILED job; what is left out stays as it is."""

    type: Literal["edit"] = "edit"
    payload: dict[str, JsonValue] | None = None
    """What the worker gets instead, whole; the payload before it is kept for the history."""
    queue: str | None = Field(default=None, pattern=QUEUE_PATTERN)
    """Where workers look for it."""
    priority: int | None = Field(default=None, ge=-1000, le=1000)
    """Higher runs first."""
    run_at: AwareDatetime | None = None
    """Not before this instant; one that has passed means at once."""
    max_attempts: int | None = Field(default=None, ge=1, le=100)
    """How many attempts it may take, those it has taken included."""


AnyJobCommand = CreateJob | RetryJob | CancelJob | ForceRunJob | RestoreJob | EditJob
AnyDirective = AnyQueueCommand | AnyOperationCommand
"""Commands about what is no job."""
AnyCommand = AnyJobCommand | AnyDirective
