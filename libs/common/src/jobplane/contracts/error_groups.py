"""Error groups as everybody sees them: failures with the same cause, by fingerprint."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from jobplane.contracts.ids import JobId
from jobplane.contracts.job_filter import FINGERPRINT_PATTERN
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.message import Fact

TREND_HOURS: Final = 24
MOST_NAMES: Final = 20
"""So many kinds and queues a group names: those in which it was met first."""
MAX_GROUPS: Final = 100
"""So many groups a page has at most; all of a page fit into one message."""
SAMPLE_CHARS: Final = 300
"""So much of a message lists show."""

Fingerprint = Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)]


class ErrorSort(StrEnum):
    """What comes first in a list of error groups."""

    LAST_SEEN = "last_seen"
    """The group that failed most recently."""
    COUNT = "count"
    """The group with most failures."""
    FAILED_NOW = "failed_now"
    """The group with most jobs that are FAILED now."""


class ListErrorGroups(Fact):
    """Error groups; filters compose by AND, several values of one filter by OR."""

    limit: int = Field(default=50, ge=1, le=MAX_GROUPS)
    cursor: str | None = None
    sort: ErrorSort = ErrorSort.LAST_SEEN
    kind: list[str] = Field(default_factory=list)
    queue: list[str] = Field(default_factory=list)
    type: list[str] = Field(default_factory=list)
    since: datetime | None = None
    """Only those that failed at this instant or later."""


class OneErrorGroup(Fact):
    """One error group."""

    fingerprint: Fingerprint


class ErrorGroup(Fact):
    """Failures with the same cause: the same type, the same message but for numbers and names, the same frames."""

    fingerprint: str
    """16 hexadecimal digits."""
    type: str
    """Name of the exception or a word of the platform (``timeout``, ``orphaned``)."""
    message: str = ""
    """How the message of the latest failure begins."""
    count: int
    """How many runs ever failed so, those included that were tried again."""
    failed_now: int
    """How many jobs are FAILED with it now."""
    trend: list[int]
    """Failures in each of the last 24 hours (UTC), oldest first; the last one is not over yet."""
    first_at: datetime
    """When it was seen first."""
    last_at: datetime
    """When it was seen last."""
    kinds: list[str]
    """Kinds of jobs that it was met in, the first 20."""
    queues: list[str]
    """Queues that it was met in, the first 20."""
    sample_job: JobId
    """The job that failed so last."""
    jobs_url: str
    """Where to find the jobs whose latest error it is."""


class ErrorGroupPage(Fact):
    """One page of error groups."""

    items: list[ErrorGroup]
    """In the order that was asked for."""
    next_cursor: str | None = None
    """Give it back as `cursor` for the next page; none on the last page."""


class ErrorGroupJob(Fact):
    """A job whose latest error is of the group."""

    id: JobId
    """Its id."""
    kind: str
    """What it does."""
    queue: str
    """Its queue."""
    status: JobStatus
    """FAILED, or on its way to another attempt."""
    attempt: int
    """Counted runs since the last reset."""
    max_attempts: int
    """How many it may take."""
    started_at: datetime | None
    """When its latest run started."""
    finished_at: datetime | None
    """When it failed for good."""
    worker: str | None
    """Who ran it last."""


class ErrorGroupView(ErrorGroup):
    """An error group, whole: its message is not cut."""

    stack: str | None = None
    """The stack of the latest failure, at most 32 KiB."""
    jobs: list[ErrorGroupJob]
    """The newest jobs whose latest error it is, at most 10."""
