"""What processes tell of themselves, and what the health service makes of it."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field, JsonValue

from jobplane.contracts.message import Fact


class PoolFigures(Fact):
    """A database connection pool."""

    size: int
    """Open connections."""
    max: int
    """At most so many."""
    in_use: int
    """Lent out now."""
    waiting: int
    """Callers that wait for one now."""
    wait_ms: float
    """Mean wait of a caller since the last beat, in milliseconds."""


class Heartbeat(Fact):
    """Sent every 5 seconds by every process to `fleet.beat.<kind>.<instance>`."""

    kind: str
    """``jobs``, ``audit``, ``health``, ``gateway`` or ``worker``."""
    instance: str
    """Distinguishes replicas."""
    version: str
    """Version of the program."""
    pid: int
    host: str
    started_at: datetime
    sent_at: datetime
    ready: bool
    """Whether it can do its work."""
    cpu_percent: float
    """Of one core, since the last beat."""
    rss_bytes: int
    loop_lag_ms: float
    """Longest delay of the event loop since the last beat."""
    pool: PoolFigures | None = None
    in_flight: int = 0
    """Requests, commands or jobs being worked on."""
    stopping: bool = False
    """The last beat of a process that ends on purpose."""
    detail: dict[str, JsonValue] = Field(default_factory=dict)
    """What else it has to tell.

    Queues and kinds of a worker, projection checkpoints (``checkpoints: {stream: position}``), relay lag
    (``relay_lag``), …
    """


class ProcessHealth(Fact):
    """One process, as last heard."""

    kind: str
    instance: str
    status: Literal["up", "late", "down", "stopped"]
    """``late`` after two missed beats, ``down`` after four."""
    last_beat_at: datetime
    beat: Heartbeat


class CheckStatus(StrEnum):
    """Worst last."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(Fact):
    """One thing that was looked at."""

    name: str
    """E.g. ``postgres.latency``."""
    status: CheckStatus
    value: JsonValue
    """What was measured, in the unit that the name or advice says."""
    threshold: JsonValue = None
    """Where it stops being ok."""
    since: datetime
    """Since when it has this status."""
    advice: str
    """What to do, in one sentence; also says what it means while ok."""


class MinuteRate(Fact):
    """What happened in one minute."""

    minute: datetime
    created: int
    started: int
    completed: int
    failed: int
    """Failed runs, also those that will be retried."""
    error_rate: float | None
    """failed / (completed + failed), none without either."""


class QueueActivity(Fact):
    """How fast the jobs of a queue go, and who looks for them."""

    started: int = 0
    """Runs that started in the window."""
    completed: int = 0
    """Runs that completed in it."""
    failed: int = 0
    """Runs that failed in it, also those that are retried."""
    workers: int = 0
    """Workers that send heartbeats and look for its jobs."""


class QueueActivities(Fact):
    """All queues where something happened lately, or that workers look after."""

    window_s: float
    """What is counted happened in so many seconds: this minute and the four before."""
    queues: dict[str, QueueActivity]
    """By name."""


class DetailedHealth(Fact):
    """Everything, for SREs."""

    status: CheckStatus
    """The worst of all checks."""
    generated_at: datetime
    services: list[ProcessHealth]
    workers: list[ProcessHealth]
    checks: list[Check]
    throughput: list[MinuteRate] = Field(default_factory=list)
    """The last 60 minutes, oldest first, minutes without events left out."""
