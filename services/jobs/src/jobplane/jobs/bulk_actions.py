"""What a bulk operation does to each job, as fragments of SQL: `decide` and `evolve` for many rows at once.

A test holds each of them against the two over every situation a job can be in. In the fragments `job` is the row as it
is, `d` the row with the decision, `NOW` the time, `op` the operation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from jobplane.contracts.job_events import (
    JobCancelled,
    JobEdited,
    JobFinishedAnyway,
    JobForceRun,
    JobRestored,
    JobRetried,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.operations import BulkAction
from jobplane.jobs.control import MAX_DELAY

_TAKEN: Final = """EXISTS (
    SELECT FROM job AS other WHERE other.kind = job.kind AND other.unique_key = job.unique_key
        AND other.status IN ('PENDING', 'RUNNING') AND other.id <> job.id
)"""
NOW: Final = "(SELECT now FROM clock)"
"""Asked for by itself, once a statement: an UPDATE copies every row that it is joined with, for each row it changes."""
_EDIT: Final = "coalesce(item.edit, op.edit)"
"""What to change in a job; undoing an edit gives each job its own."""
_WANTED_AT: Final = f"({_EDIT} ->> 'run_at')::timestamptz"


def _differs(name: str, cast: str) -> str:
    return f"coalesce(({_EDIT} ->> '{name}')::{cast} <> job.{name}, false)"


_LATER: Final = f"coalesce({_WANTED_AT} <> job.run_at AND greatest({_WANTED_AT}, {NOW}) <> job.run_at, false)"
_CHANGES: Final[Mapping[str, str]] = {
    "queue": _differs("queue", "text"),
    "priority": _differs("priority", "integer"),
    "max_attempts": _differs("max_attempts", "integer"),
    "run_at": _LATER,
}
_NOW: Final[Mapping[str, str]] = {
    "queue": "d.edit ->> 'queue'",
    "priority": "(d.edit ->> 'priority')::smallint",
    "max_attempts": "(d.edit ->> 'max_attempts')::smallint",
    "run_at": f"greatest((d.edit ->> 'run_at')::timestamptz, {NOW})",
}


def _edited(name: str) -> str:
    """A column after an edit."""
    return f"CASE WHEN '{name}' = ANY(d.changes) THEN {_NOW[name]} ELSE d.{name} END"


def _told(values: Mapping[str, str]) -> str:
    told = ", ".join(
        f"'{name}', CASE WHEN '{name}' = ANY(d.changes) THEN {value} END" for name, value in values.items()
    )
    return f"json_strip_nulls(json_build_object({told}))"


_FORCED_AFTER: Final = "(d.forced AND NOT 'run_at' = ANY(d.changes))"
_REQUEST: Final = {"traceparent": "(SELECT traceparent FROM op)", "correlation_id": "(SELECT correlation_id FROM op)"}
"""A job's next runs continue the request that caused them."""
# The run that a cancel cut off does not count.
_ATTEMPT_RESTORED: Final = "CASE WHEN d.stop IS NULL THEN d.attempt ELSE d.attempt - 1 END"


@dataclass(frozen=True, slots=True)
class Sets:
    """One action."""

    event: str
    """The type of each job's event."""
    refuses: str
    """WHEN … THEN code: why a job is skipped; in the order of `decide`."""
    after: str
    """The status after it."""
    sets: Mapping[str, str]
    """Columns of the row that it changes."""
    says: Mapping[str, str]
    """What the event of a job says besides queue, kind and status; left out where it is NULL."""
    shared: Mapping[str, str] = field(default_factory=dict)
    """What all of them say alike."""
    changes: str = "NULL::text[]"
    """`d.changes`: what an edit changes, as names of columns."""
    queue: str = "d.queue"
    """The queue after it."""
    takes_key: bool = False
    """A job of it may take its unique key again."""

    @property
    def leaves_group(self) -> bool:
        """A job that was FAILED is not any more: its error group has one less."""
        return "error_fingerprint" in self.sets

    @property
    def after_is_shared(self) -> bool:
        """All jobs have the same status after it."""
        return not self.after.startswith("d.")


ACTIONS: Final[Mapping[BulkAction, Sets]] = {
    BulkAction.RETRY: Sets(
        event=JobRetried.TYPE,
        refuses=f"WHEN job.status <> 'FAILED' THEN 'job_not_failed' WHEN {_TAKEN} THEN 'unique_key_taken'",
        after="'PENDING'",
        sets={
            "status": "'PENDING'",
            "attempt": "0",
            "orphanings": "0",
            "run_at": f"greatest(d.run_at, {NOW})",
            "error_ref": "NULL",
            "error_type": "NULL",
            "error_fingerprint": "NULL",
            "finished_at": "NULL",
            "ready": f"d.forced OR d.run_at <= {NOW}",
            **_REQUEST,
        },
        # Later than the others only if an edit said so.
        says={"run_at": f"CASE WHEN d.run_at > {NOW} THEN d.run_at END"},
        shared={"run_at": NOW},
        takes_key=True,
    ),
    BulkAction.CANCEL: Sets(
        event=JobCancelled.TYPE,
        refuses="WHEN job.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN 'job_finished'",
        after="'CANCELLED'",
        sets={
            "status": "'CANCELLED'",
            "forced": "false",
            "token": "CASE WHEN d.before <> 'RUNNING' THEN d.token END",
            "finished_at": NOW,
            "stop": "CASE WHEN d.before = 'RUNNING' THEN 'pending' END",
            "stop_token": "CASE WHEN d.before = 'RUNNING' THEN d.token END",
            "ready": "false",
        },
        says={
            "run": "CASE WHEN d.before = 'RUNNING' THEN d.run END",
            "worker": "CASE WHEN d.before = 'RUNNING' THEN d.worker END",
        },
    ),
    BulkAction.RUN: Sets(
        event=JobForceRun.TYPE,
        refuses="WHEN job.status <> 'PENDING' THEN 'job_not_pending'",
        after="d.before",
        sets={"run_at": NOW, "forced": "true", "ready": "true", **_REQUEST},
        says={},
        shared={"run_at": NOW},
    ),
    BulkAction.RESTORE: Sets(
        event=JobRestored.TYPE,
        refuses=f"""WHEN job.status <> 'CANCELLED' THEN 'job_not_cancelled'
            WHEN job.stop = 'pending' THEN 'stop_pending' WHEN {_TAKEN} THEN 'unique_key_taken'""",
        after="'PENDING'",
        sets={
            "status": "'PENDING'",
            "attempt": _ATTEMPT_RESTORED,
            "finished_at": "NULL",
            "stop": "NULL",
            "stop_token": "NULL",
            "ready": f"d.forced OR d.run_at <= {NOW}",
            **_REQUEST,
        },
        says={"attempt": _ATTEMPT_RESTORED},
        takes_key=True,
    ),
    BulkAction.EDIT: Sets(
        event=JobEdited.TYPE,
        refuses=f"""WHEN job.status NOT IN ('PENDING', 'FAILED') THEN 'job_not_editable'
            WHEN {_WANTED_AT} > {NOW} + interval '{MAX_DELAY.days} days' THEN 'run_at_too_far'
            WHEN ({_EDIT} ->> 'max_attempts')::integer < job.attempt + (job.status = 'PENDING')::integer
                THEN 'max_attempts_too_low'
            WHEN NOT ({" OR ".join(_CHANGES.values())}) THEN 'nothing_to_change'""",
        after="d.before",
        sets={
            **{name: _edited(name) for name in _NOW},
            "forced": _FORCED_AFTER,
            "ready": f"d.before = 'PENDING' AND ({_FORCED_AFTER} OR {_edited('run_at')} <= {NOW})",
        },
        says={
            "changed": "to_json(d.changes)",
            "was": _told({name: f"d.{name}" for name in _NOW}),
            "now": _told(_NOW),
        },
        changes="array_remove(ARRAY["
        + ", ".join(f"CASE WHEN {differs} THEN '{name}' END" for name, differs in _CHANGES.items())
        + "], NULL)",
        queue=_edited("queue"),
    ),
}
"""By the action."""

CHANGED_SINCE: Final = f"""item.expected <> job.version AND job.version - item.expected <> (
    SELECT count(*) FROM event WHERE event.stream_id = job.id AND event.version > item.expected
        AND event.type IN ('{JobStopConfirmed.TYPE}', '{JobFinishedAnyway.TYPE}', '{JobStopUnconfirmed.TYPE}')
)"""  # noqa: S608 - constants
"""Something happened to a job since it had the version `item.expected`; what its worker told of a stop is nothing."""

REFUSES: Final[Mapping[BulkAction, str]] = {
    action: f"CASE WHEN job.id IS NULL THEN 'job_not_found' {sets.refuses} END" for action, sets in ACTIONS.items()
}
"""The code that a job would be skipped with, or NULL; where it is not there, its row is all NULL."""
