"""Error groups, counted where failures are written: how many failed so, when, where, and how many are FAILED now.

Everything here is written under the lock of the journal's head, like the counters, so that rows are taken in any order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from jobplane.chassis.arrays import plain, texts
from jobplane.chassis.exchange import Parameter
from jobplane.contracts.error_groups import MOST_NAMES
from jobplane.contracts.ids import BodyRef, JobId
from jobplane.contracts.job_events import AnyJobEvent, JobArchived, JobFailed, JobOrphaned
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.job import Job

KEPT: Final = "90 days"
"""So long trends, and groups of which no job is FAILED any more, are kept."""


def _joined(column: str) -> str:
    """The names known before, then the new ones, as many as there is room for."""
    new = f"SELECT name FROM unnest(excluded.{column}) AS new (name) WHERE name <> ALL(g.{column})"  # noqa: S608 - constants
    return f"""CASE WHEN excluded.{column} <@ g.{column} OR cardinality(g.{column}) = {MOST_NAMES} THEN g.{column}
        ELSE (g.{column} || ARRAY({new}))[:{MOST_NAMES}] END"""


_FAILED: Final = f"""failures AS (
    INSERT INTO error_group AS g (fingerprint, type, kinds, queues, first_at, last_at, occurrences, failed_now,
        sample_job, sample_error_ref)
    SELECT u.fingerprint, u.type, u.kinds::text[], u.queues::text[], %s::timestamptz, %s::timestamptz, u.n, u.failed,
        u.job, u.error_ref
    FROM head, unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::uuid[],
        %s::uuid[]) AS u (fingerprint, type, kinds, queues, n, failed, job, error_ref)
    ON CONFLICT (fingerprint) DO UPDATE SET last_at = excluded.last_at, kinds = {_joined("kinds")},
        queues = {_joined("queues")}, occurrences = g.occurrences + excluded.occurrences,
        failed_now = g.failed_now + excluded.failed_now, sample_job = excluded.sample_job,
        sample_error_ref = excluded.sample_error_ref
), trends AS (
    INSERT INTO error_trend AS t (fingerprint, hour, n)
    SELECT u.fingerprint, date_trunc('hour', %s::timestamptz, 'UTC'), u.n
    FROM head, unnest(%s::text[], %s::bigint[]) AS u (fingerprint, n)
    ON CONFLICT (fingerprint, hour) DO UPDATE SET n = t.n + excluded.n
)"""  # noqa: S608 - constants


def leave(gone: str) -> str:
    """A part of a `WITH` that takes jobs out of their groups when they are not FAILED any more.

    `gone` is a SELECT of rows `(fingerprint, n)`, each fingerprint once: so many jobs that were FAILED with it, locked
    before this statement began, are retried or deleted by it. A part named `head` must hold the lock of the head.
    """
    return f"""left_groups AS (
    UPDATE error_group AS g SET failed_now = g.failed_now - gone.n
    FROM head, ({gone}) AS gone WHERE g.fingerprint = gone.fingerprint
)"""  # noqa: S608 - constants


_GONE: Final = leave("SELECT fingerprint, n FROM unnest(%s::text[], %s::bigint[]) AS u (fingerprint, n)")

_AT_ONCE: Final = 5000
PRUNE: Final = (
    f"""
    DELETE FROM error_trend WHERE (fingerprint, hour) IN (
        SELECT fingerprint, hour FROM error_trend WHERE hour < now() - interval '{KEPT}' ORDER BY hour LIMIT {_AT_ONCE}
        FOR UPDATE SKIP LOCKED
    )
    """,  # noqa: S608 - constants
    f"""
    DELETE FROM error_group WHERE failed_now = 0 AND fingerprint IN (
        SELECT fingerprint FROM error_group WHERE failed_now = 0 AND last_at < now() - interval '{KEPT}'
        ORDER BY last_at LIMIT {_AT_ONCE} FOR UPDATE SKIP LOCKED
    )
    """,  # noqa: S608 - constants
)
"""What the pruner forgets, a bite at a time."""


@dataclass(slots=True)
class GroupChange:
    """What one transaction does to one group."""

    fingerprint: str
    failed: int = 0
    """How much `failed_now` moves."""
    failures: int = 0
    """How many runs failed so; what follows is known only if any did."""
    type: str = ""
    kinds: list[str] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    sample_job: JobId | None = None
    sample_error_ref: BodyRef | None = None


class Grouping:
    """Gathers what events do to groups; nothing but failures, and jobs that were FAILED, concerns it."""

    def __init__(self) -> None:
        self._changes: dict[str, GroupChange] = {}

    def hear(self, before: Job | None, event: AnyJobEvent, after: Job) -> None:
        """One event."""
        if before is not None and before.status is JobStatus.FAILED and before.error_fingerprint is not None:
            self._of(before.error_fingerprint).failed -= 1
        stays = not isinstance(event, JobArchived)
        if stays and after.status is JobStatus.FAILED and after.error_fingerprint is not None:
            self._of(after.error_fingerprint).failed += 1
        if isinstance(event, JobFailed | JobOrphaned) and event.error is not None:
            self._fail(self._of(event.error.fingerprint), event.error.type, after)

    def changes(self) -> list[GroupChange]:
        """Groups that change, by fingerprint."""
        return [change for _, change in sorted(self._changes.items()) if change.failed or change.failures]

    def _of(self, fingerprint: str) -> GroupChange:
        return self._changes.setdefault(fingerprint, GroupChange(fingerprint))

    @staticmethod
    def _fail(change: GroupChange, error_type: str, job: Job) -> None:
        change.failures += 1
        change.type = error_type
        for names, name in ((change.kinds, job.kind), (change.queues, job.queue)):
            if name not in names and len(names) < MOST_NAMES:
                names.append(name)
        change.sample_job, change.sample_error_ref = job.id, job.error_ref


def parts(changes: Sequence[GroupChange], now: datetime) -> Iterable[tuple[str, Sequence[Parameter]]]:
    """The parts of a write, as text and parameters; none where nothing failed and nothing was FAILED."""
    failing = [change for change in changes if change.failures]
    leaving = [change for change in changes if not change.failures]
    if failing:
        yield _FAILED, _failed_parameters(failing, now)
    if leaving:
        yield _GONE, [plain(change.fingerprint for change in leaving), plain(-change.failed for change in leaving)]


def _failed_parameters(failing: Sequence[GroupChange], now: datetime) -> list[Parameter]:
    at = now.isoformat()
    fingerprints, failures = plain(one.fingerprint for one in failing), plain(one.failures for one in failing)
    return [
        at,
        at,
        fingerprints,
        texts(one.type for one in failing),
        texts(texts(one.kinds) for one in failing),
        texts(texts(one.queues) for one in failing),
        failures,
        plain(one.failed for one in failing),
        plain(one.sample_job for one in failing),
        plain(one.sample_error_ref for one in failing),
        at,
        fingerprints,
        failures,
    ]
