"""Queues and kinds as they are controlled, in PostgreSQL: who changes that, and how claims see it.

Claims share one lock, changes take it alone: no job starts after the commit of a pause, and none that was started
before is missing from a count under a limit.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from jobplane.chassis.journal import LockOrder, Transaction
from jobplane.contracts.queues import LimitQueue, PauseQueue, ResumeQueue
from jobplane.jobs import control_rows
from jobplane.jobs.conditions import PHASES
from jobplane.jobs.decider import Rejected
from jobplane.jobs.directives import Rule, Ruling
from jobplane.jobs.queue import Control, Meta, Target, decide, evolve, told
from jobplane.jobs.wishes import Directive

_LOAD: Final = f"SELECT {control_rows.COLUMNS} FROM queue_control WHERE key = %s FOR UPDATE"  # noqa: S608 - constants
# Other limits begin with a full burst.
_SAVE: Final = """
INSERT INTO queue_control AS c (key, sort, name, version, paused, limits) VALUES (%s, %s, %s, %s, %s::json, %s::json)
ON CONFLICT (key) DO UPDATE SET version = excluded.version, paused = excluded.paused, limits = excluded.limits,
    paid_until = CASE WHEN %s THEN NULL ELSE c.paid_until END
"""
_RUNNING: Final[Mapping[str, str]] = {
    "queue": "SELECT coalesce(sum(n), 0)::bigint FROM job_count WHERE queue = %s AND status = 'RUNNING'",
    # As many rows as there are runs.
    "kind": "SELECT count(*) FROM job WHERE kind = %s AND status = 'RUNNING'",
}
_EVER: Final[Mapping[str, str]] = {
    "queue": "SELECT EXISTS (SELECT FROM job_count WHERE queue = %(name)s)",
    # Each phase has its own index.
    "kind": "SELECT " + " OR ".join(f"EXISTS (SELECT FROM job WHERE kind = %(name)s AND {one})" for one in PHASES),  # noqa: S608 - constants
}
_WITH_WORK: Final = "SELECT queue FROM job_count WHERE status = 'PENDING' AND n > 0"


async def rule(tx: Transaction, directive: Directive, now: datetime) -> Ruling | Rejected:
    """Decide about a queue or a kind; when it is committed, no job starts any more that it forbids."""
    command = directive.command
    if not isinstance(command, PauseQueue | ResumeQueue | LimitQueue):
        raise TypeError(command)
    target = Target.of(command)
    tx.locking(LockOrder.QUEUES)
    await tx.conn.execute(control_rows.ALONE)
    before = await _load(tx.conn, target)
    event = decide(command, before)
    if isinstance(event, Rejected):
        return event
    cause = directive.cause
    after = evolve(before, event, Meta(before.version + 1, now, cause.actor, cause.reason))
    await _save(tx.conn, after, limited=before.limits != after.limits)
    facts = told(after, await running(tx.conn, target), known=await is_known(tx.conn, target)).model_dump(mode="json")
    wakes = [] if isinstance(command, PauseQueue) else await _wakes(tx.conn, target)
    return Ruling(target.stream_id, before.version, [event], facts, wakes)


RULES: Final[Mapping[type[PauseQueue | ResumeQueue | LimitQueue], Rule]] = dict.fromkeys(
    (PauseQueue, ResumeQueue, LimitQueue), rule
)
"""Who decides about these commands."""


async def _wakes(conn: AsyncConnection[Any], target: Target) -> list[str]:
    """The queues where more may start now."""
    if target.queue is not None:
        return [target.queue]
    return [row[0] for row in await (await conn.execute(_WITH_WORK)).fetchall()]


async def running(conn: AsyncConnection[Any], target: Target) -> int:
    """How many jobs of it run."""
    row = await (await conn.execute(_RUNNING[target.sort], (target.name,))).fetchone()
    return 0 if row is None else int(row[0])


async def is_known(conn: AsyncConnection[Any], target: Target) -> bool:
    """Whether a job was ever in the queue, or is there of the kind: most names that nobody knows are mistyped."""
    row = await (await conn.execute(_EVER[target.sort], {"name": target.name})).fetchone()
    return bool(row and row[0])


async def _load(conn: AsyncConnection[Any], target: Target) -> Control:
    row = await (await conn.execute(_LOAD, (target.key,))).fetchone()
    return Control(target) if row is None else control_rows.control(row)


async def _save(conn: AsyncConnection[Any], after: Control, *, limited: bool) -> None:
    target = after.target
    paused = after.paused.model_dump_json(exclude_none=True) if after.paused else None
    limits = after.limits.model_dump_json(exclude_none=True) if after.limits else None
    await conn.execute(_SAVE, (target.key, target.sort, target.name, after.version, paused, limits, limited))
