"""The rows of `queue_control`: how they are read, locked and held against those who start jobs."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from jobplane.chassis.arrays import texts
from jobplane.chassis.journal import LockOrder, Step
from jobplane.contracts.queues import LimitsSet, Pause
from jobplane.jobs.allowance import Held
from jobplane.jobs.queue import Control, Target

_LOCK: Final = "5186, 1"
"""Two numbers, as advisory locks want them; unique keys are locked by one."""
SHARE: Final = f"pg_advisory_xact_lock_shared({_LOCK})"
"""What everybody locks who starts jobs, before looking at a control."""
# A replica that stands still in the middle of a claim must not keep all the others from starting jobs behind this.
NOW: Final = 6
"""Which column of `lock_and_load` is the time, by the clock of the database."""
ALONE: Final = f"SELECT set_config('lock_timeout', '1s', true), pg_advisory_xact_lock({_LOCK})"
"""What goes before a change of a control: it waits for those who start jobs, and they for it."""
COLUMNS: Final = "sort, name, version, paused::text, limits::text"
ACTIVE: Final = """(
    SELECT key FROM (SELECT key FROM queue_control WHERE active OFFSET 0) AS active WHERE key = ANY(%s::text[])
)"""
"""Which of some keys are paused or limited; there are seldom any, so all that are active are looked through."""
_LOCK_LIMITED: Final = """
SELECT FROM queue_control WHERE active AND limits IS NOT NULL AND key = ANY(%s::text[]) ORDER BY key FOR UPDATE
"""
# In a statement of its own, behind the locks: it sees what those who held them before have started. Where kinds are
# limited, as many rows are counted as there are runs.
_LOAD: Final = f"""
SELECT {COLUMNS}, paid_until, clock_timestamp(), CASE
    WHEN limits ->> 'concurrency' IS NULL THEN 0
    WHEN sort = 'queue' THEN (SELECT coalesce(sum(n), 0) FROM job_count WHERE queue = name AND status = 'RUNNING')
    ELSE (SELECT count(*) FROM job WHERE kind = name AND status = 'RUNNING')
END::bigint
FROM queue_control WHERE active AND key = ANY(%s::text[])
"""  # noqa: S608 - constants
_NONE_ACTIVE: Final = f"SELECT 1 / CASE WHEN EXISTS {ACTIVE} THEN 0 ELSE 1 END"
PAID: Final = """paid AS (
    UPDATE queue_control SET paid_until = u.paid_until
    FROM head, unnest(%s::text[], %s::timestamptz[]) AS u (key, paid_until) WHERE queue_control.key = u.key
)"""
"""Joins the statement that writes: what a rate's starts cost."""


def lock_and_load(keys: Collection[str]) -> list[Step]:
    """Locks the limited ones, then reads all that are active, for `held`."""
    listed = texts(sorted(keys))
    return [(LockOrder.QUEUES, _LOCK_LIMITED, [listed]), (LockOrder.QUEUES, _LOAD, [listed])]


def none_active(keys: Collection[str]) -> list[Step]:
    """Fails the transaction by a division by zero if one of these is paused or limited."""
    if not keys:
        return []
    listed = texts(sorted(keys))
    return [(LockOrder.QUEUES, f"SELECT {SHARE}", []), (LockOrder.QUEUES, _NONE_ACTIVE, [listed])]


def held(row: Sequence[Any]) -> Held:
    """The locked control in a row of `lock_and_load`."""
    *columns, paid_until, _now, running = row
    return Held(control(columns), paid_until, running)


def control(row: Sequence[Any]) -> Control:
    """The control in the columns `COLUMNS`."""
    sort, name, version, paused, limits = row
    return Control(
        Target(sort, name),
        version,
        None if paused is None else Pause.model_validate_json(paused),
        None if limits is None else LimitsSet.model_validate_json(limits),
    )
