"""The store in PostgreSQL: one statement locks and reads, one statement writes, whatever the size of the batch."""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain
from operator import attrgetter
from typing import Final, assert_never

from psycopg.errors import DivisionByZero

from jobplane.chassis.arrays import bytes_, plain, texts
from jobplane.chassis.exchange import Parameter
from jobplane.chassis.journal import Exchange, Journal, LockOrder, Step
from jobplane.chassis.new_events import APPEND, HELD, WRITABLE, append_parameters
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import FINISHED
from jobplane.contracts.workers import DEFAULT_LEASE_MS
from jobplane.jobs import allowance, control_rows, error_groups, next_jobs, outcomes, rows, written_jobs
from jobplane.jobs.bodies import NewBody
from jobplane.jobs.database_clock import DatabaseClock
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.rows import Held
from jobplane.jobs.store import ById, Changes, Claimable, Controlled, Due, Found, Known, Overdue, Selection, UniqueKey

# `beat_service.since` moves when no replica could serve beats for a third of a lease: workers then get a whole
# lease to be heard again.
_WORKERS_WERE_HEARD: Final = f"""(
    SELECT served_until > clock_timestamp()
        AND since + coalesce(job.lease_ms, {DEFAULT_LEASE_MS}) * interval '1 ms' < clock_timestamp()
    FROM beat_service
)"""  # noqa: S608 - constants
_DUE: Final[Mapping[Due, str]] = {
    Due.EXPIRED: f"status = 'RUNNING' AND lease_until < clock_timestamp() AND {_WORKERS_WERE_HEARD}",
    Due.OVERDUE: f"""
        status = 'RUNNING' AND timeout_ms IS NOT NULL AND {_WORKERS_WERE_HEARD}
            AND started_at + timeout_ms * interval '1 ms' < clock_timestamp()""",
    Due.UNSETTLED: f"""
        stop = 'pending' AND {_WORKERS_WERE_HEARD} AND clock_timestamp()
            > greatest(lease_until, finished_at + coalesce(lease_ms, {DEFAULT_LEASE_MS}) * interval '1 ms')""",
}
ANY_DUE: Final = "SELECT " + ", ".join(f"EXISTS (SELECT 1 FROM job WHERE {_DUE[due]})" for due in Due)  # noqa: S608 - constants
"""One cheap look before the transactions: there is seldom anything to do."""

_BY_ID: Final = f"SELECT {rows.LOCKED_COLUMNS} FROM job WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"  # noqa: S608 - constants
_OVERDUE: Final = {
    due: f"SELECT {rows.LOCKED_COLUMNS} FROM job WHERE {condition} ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"  # noqa: S608 - constants
    for due, condition in _DUE.items()
}
# One row with the outcomes and one row for each job, in any order (`_in_order`). The clock is read when a row leaves
# the statement, which is after its lock: the last of them is the time of the transaction.
_READ: Final = """
WITH locked AS MATERIALIZED ({locked})
SELECT clock_timestamp(), CASE WHEN first THEN {stored} END, locked.*
FROM (VALUES (true), (false)) AS part (first) LEFT JOIN locked ON NOT first
"""
_STORED: Final = f"""(
    SELECT json_agg(json_build_array({outcomes.COLUMNS})) FROM command_outcome WHERE command_id = ANY(%s::uuid[])
)"""  # noqa: S608 - constants
_CONTROLLED: Final = f"(SELECT json_agg(key) FROM {control_rows.ACTIVE} AS active)"  # noqa: S608 - constants
_WANTED_KEYS: Final = """
SELECT * FROM unnest(%s::text[], %s::text[]) AS wanted (kind, key)
UNION SELECT kind, unique_key FROM job WHERE id = ANY(%s::uuid[]) AND unique_key IS NOT NULL
"""
# Serialises everybody who may take one of these keys. Whoever gives one up needs no lock: a taker sees the key as taken
# or free, both are true at some instant.
_LOCK_KEYS: Final = f"""
SELECT pg_advisory_xact_lock(h) FROM (
    SELECT DISTINCT hashtextextended(k.kind || chr(31) || k.key, 0) AS h FROM ({_WANTED_KEYS}) AS k ORDER BY 1
) AS ordered
"""  # noqa: S608 - constants
_HOLDERS: Final = f"""
SELECT job.kind, job.unique_key, job.id FROM job JOIN ({_WANTED_KEYS}) AS k
ON job.kind = k.kind AND job.unique_key = k.key WHERE job.status IN ('PENDING', 'RUNNING')
"""  # noqa: S608 - constants

_ARCHIVED: Final = """
SELECT stream_id::text FROM event WHERE stream_id = ANY(%s::uuid[]) AND version = 1
    AND NOT EXISTS (SELECT FROM job WHERE job.id = event.stream_id)
"""

_id_of = attrgetter("job.id")


_INSERT_BODIES: Final = """bodies AS (
    INSERT INTO body (ref, job_id, salt, data) SELECT u.ref, u.job_id, u.salt, u.data
    FROM head, unnest(%s::uuid[], %s::uuid[], %s::bytea[], %s::bytea[]) AS u (ref, job_id, salt, data)
)"""
# A key that is given up in this transaction is free before somebody else in it takes it; not while writes are halted.
_FREE_KEYS: Final = f"""
WITH head AS (SELECT FROM journal_head WHERE {WRITABLE} FOR UPDATE)
UPDATE job SET status = u.status FROM head, unnest(%s::uuid[], %s::text[]) AS u (id, status) WHERE job.id = u.id
"""  # noqa: S608 - constants


_COUNT: Final = """counted AS (
    INSERT INTO job_count AS c (queue, status, n) SELECT u.queue, u.status, u.n
    FROM head, unnest(%s::text[], %s::text[], %s::bigint[]) AS u (queue, status, n)
    ON CONFLICT (queue, status) DO UPDATE SET n = c.n + excluded.n
)"""
_OUTCOMES: Final = """decided AS (
    INSERT INTO command_outcome (command_id, body_digest, status, code, detail, facts, job_id, position)
    SELECT u.command_id, u.body_digest, u.status, u.code, u.detail, u.facts, u.job_id, head.base + u.n
    FROM head,
        unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::json[], %s::uuid[], %s::bigint[])
        AS u (command_id, body_digest, status, code, detail, facts, job_id, n)
)"""


class PostgresStore:
    """Jobs, journal, bodies, outcomes and counters in the service's schema; see `store.Store`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._clock = DatabaseClock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["PostgresWriting"]:
        """One transaction in two round trips: lock and read, then write and commit."""
        try:
            async with self._journal.exchange() as tx:
                yield PostgresWriting(tx, self._clock)
        except DivisionByZero as error:
            raise Controlled from error


class PostgresWriting:
    """One transaction; see `store.Writing`."""

    def __init__(self, tx: Exchange, clock: DatabaseClock) -> None:
        self._tx = tx
        self._clock = clock
        self._starting: Collection[str] = ()

    @property
    def head(self) -> int | None:
        """After the block: the position of the last event, if any was written."""
        return self._tx.head

    async def read(self, selection: Selection, known: Known) -> Found:
        """Lock and look up."""
        if isinstance(selection, Claimable):
            return await self._claim(selection)
        locked, parameters = _selected(selection)
        if known.command_ids:
            parameters = [*parameters, plain(known.command_ids)]
        query = _READ.format(locked=locked, stored=_STORED if known.command_ids else "NULL::json")
        locks = _lock_keys(known)
        *keys, found = await self._tx.read(
            *control_rows.none_active(known.starting), *locks, (LockOrder.ROWS, query, parameters)
        )
        now = max(row[0] for row in found)
        self._clock.hear(now)
        archived = []
        if known.created:
            (archived,) = await self._tx.read((LockOrder.ROWS, _ARCHIVED, (plain(known.created),)))
        return Found(
            held=_in_order(selection, [rows.held(row[2:]) for row in found if row[2] is not None]),
            now=now,
            stored={row[0]: outcomes.stored(row) for told in found if told[1] for row in told[1]},
            holders={(kind, key): holder for kind, key, holder in keys[-1]} if locks else {},
            archived=[row[0] for row in archived],
        )

    async def _claim(self, selection: Claimable) -> Found:
        """In one round trip where nothing is paused or limited, else in three."""
        queue, kinds = selection.queue, selection.kinds
        keys = sorted(allowance.keys_of(queue, kinds))
        locked, parameters = next_jobs.claim(queue, kinds, selection.limit)
        query = _READ.format(locked=locked, stored=_CONTROLLED)
        # Locks rows only where nothing is controlled: then no other lock follows.
        _, found = await self._tx.read(
            (LockOrder.QUEUES, next_jobs.BEFORE, ()), (LockOrder.QUEUES, query, [*parameters, texts(keys)])
        )
        permit = None
        if any(row[1] for row in found):
            permit, now = await self._permit(selection, keys)
            if not permit.kinds:
                return Found([], self._heard(now), {}, {}, permit)
            locked, parameters = next_jobs.permitted(queue, permit)
            query = _READ.format(locked=locked, stored="NULL::json")
            (found,) = await self._tx.read((LockOrder.ROWS, query, parameters))
        held = sorted((rows.held(row[2:]) for row in found if row[2] is not None), key=_turn)
        return Found(held, self._heard(max(row[0] for row in found)), {}, {}, permit)

    async def _permit(self, selection: Claimable, keys: Sequence[str]) -> tuple[allowance.Permit, datetime]:
        _, controls = await self._tx.read(*control_rows.lock_and_load(keys))
        now = max(row[control_rows.NOW] for row in controls)
        held = map(control_rows.held, controls)
        return allowance.permit(held, selection.queue, selection.kinds, selection.limit, now), now

    def _heard(self, now: datetime) -> datetime:
        self._clock.hear(now)
        return now

    def presume(self, starting: Collection[str] = ()) -> Found | None:
        """Nothing is there; what time it is must be known."""
        now = self._clock.now()
        if now is None:
            return None
        self._starting = starting
        return Found(held=[], now=now, stored={}, holders={})

    async def write(self, changes: Changes) -> None:
        """Write everything in one statement."""
        if not changes.events and not changes.outcomes:
            self._tx.finish()
            return
        known = self._tx.known
        head = (APPEND, append_parameters(changes.events, known)) if changes.events else (HELD, known)
        parts = [head, *_parts(changes)]
        statement = "WITH " + ", ".join(text for text, _ in parts) + " SELECT base FROM head"  # noqa: S608 - constants
        step = (LockOrder.HEAD, statement, [*chain.from_iterable(told for _, told in parts)])
        guard = control_rows.none_active(self._starting)
        self._tx.finish(*guard, *_free_keys(changes.rows, known), step, events=changes.events)


def _lock_keys(known: Known) -> list[Step]:
    if not known.unique_keys and not known.retried:
        return []
    kinds, keys = texts(kind for kind, _ in known.unique_keys), texts(key for _, key in known.unique_keys)
    parameters = (kinds, keys, plain(known.retried))
    return [(LockOrder.UNIQUE_KEYS, _LOCK_KEYS, parameters), (LockOrder.UNIQUE_KEYS, _HOLDERS, parameters)]


def _free_keys(changed: Sequence[tuple[Held, int]], known: tuple[int, int]) -> list[Step]:
    freed = _freed(changed)
    if not freed:
        return []
    parameters = (*known, plain(item.job.id for item in freed), plain(item.job.status for item in freed))
    return [(LockOrder.HEAD, _FREE_KEYS, parameters)]


def _selected(selection: ById | Overdue) -> tuple[str, list[Parameter]]:
    match selection:
        case ById(ids):
            return _BY_ID, [plain(sorted(set(ids)))]
        case Overdue(due, limit):
            return _OVERDUE[due], [limit]
        case _:
            assert_never(selection)


def _in_order(selection: ById | Overdue, held: list[Held]) -> list[Held]:
    """As the selection wants them.

    The order in which jobs are locked and cut off says nothing of the order of the rows: that follows from the plan of
    the statement around it. Mostly it is the same, and sorting what is in order costs less than a sort in the plan.
    """
    match selection:
        case ById():  # looked up by id
            return held
        case Overdue():
            return sorted(held, key=_id_of)
        case _:
            assert_never(selection)


def _turn(item: Held) -> tuple[bool, int, datetime, JobId]:
    """When it is a job's turn to be taken; as in `next_jobs`."""
    job = item.job
    return not job.forced, -job.priority, job.run_at, job.id


def _parts(changes: Changes) -> Iterable[tuple[str, Sequence[Parameter]]]:
    """What joins the events in one statement: text and parameters."""
    if changes.bodies:
        yield _INSERT_BODIES, _body_parameters(changes.bodies)
    yield from written_jobs.parts(changes)
    if changes.outcomes:
        yield _OUTCOMES, _outcome_parameters(changes.outcomes)
    if changes.paid:
        yield control_rows.PAID, [texts(changes.paid), plain(changes.paid.values())]
    counts = {key: n for key, n in sorted(changes.counts.items()) if n}
    if counts:
        yield (
            _COUNT,
            [texts(queue for queue, _ in counts), plain(status for _, status in counts), plain(counts.values())],
        )
    yield from error_groups.parts(changes.groups, changes.now)


def _freed(changed: Sequence[tuple[Held, int]]) -> list[Held]:
    """Jobs that give up a unique key which another job of the same transaction takes."""
    keyed = [item for item, _ in changed if item.job.unique_key is not None]
    taken: set[UniqueKey] = {_key(item) for item in keyed if item.job.status not in FINISHED}
    return [item for item in keyed if item.job.status in FINISHED and item.before is not None and _key(item) in taken]


def _key(item: Held) -> UniqueKey:
    return item.job.kind, item.job.unique_key or ""


def _body_parameters(bodies: Sequence[tuple[JobId, NewBody]]) -> list[str]:
    return [
        plain(body.ref for _, body in bodies),
        plain(job_id for job_id, _ in bodies),
        bytes_(body.salt for _, body in bodies),
        bytes_(body.data for _, body in bodies),
    ]


def _outcome_parameters(decided: Sequence[tuple[str, Stored, int | None]]) -> list[str]:
    return [
        plain(command_id for command_id, _, _ in decided),
        texts(stored.body_digest for _, stored, _ in decided),
        plain(stored.status for _, stored, _ in decided),
        texts(stored.code for _, stored, _ in decided),
        texts(stored.detail for _, stored, _ in decided),
        texts(json.dumps(stored.facts) for _, stored, _ in decided),
        plain(stored.job_id for _, stored, _ in decided),
        plain(n for _, _, n in decided),
    ]
