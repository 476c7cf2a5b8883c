"""The store in memory: what `PostgresStore` does, one scheduling point after the other; see `store_checks`."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Final, assert_never

import psycopg

from jobplane.chassis.journal import HALTED
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.jobs import allowance, rows
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.rows import Held
from jobplane.jobs.store import ById, Changes, Claimable, Controlled, Found, Known, Overdue, Selection, UniqueKey
from tests.simulation.memory_database import (
    HEAD,
    MemoryDatabase,
    Row,
    Session,
    Staged,
    command_lock,
    control_lock,
    key_lock,
    row_lock,
)

_SMALL_PAYLOAD_BYTES: Final = 4096


class MemoryStore:
    """See `store.Store`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryWriting"]:
        database = self._database
        await database.faults.way()
        database.faults.connection()
        session = database.begin()
        writing = MemoryWriting(database, session)
        try:
            yield writing
            await writing.commit()
        finally:
            # The dead clean nothing up: the server notices that they are gone. Nobody stops a commit under way.
            if not session.committing and (session.owner is None or session.owner.alive):
                database.end(session)


class MemoryWriting:
    """See `store.Writing`."""

    def __init__(self, database: MemoryDatabase, session: Session) -> None:
        self._database = database
        self._session = session
        self._changes: Changes | None = None
        self._starting: Collection[str] = ()
        self.head: int | None = None

    async def read(self, selection: Selection, known: Known) -> Found:
        """Each statement sees what was committed when it began; a row that had to be waited for is read anew."""
        database = self._database
        await database.faults.way()
        if isinstance(selection, Claimable):
            return await self._claim(selection)
        self._starting = known.starting
        holders = await self._lock_keys(known)
        stored = {key: database.outcomes[key] for key in known.command_ids if key in database.outcomes}
        held = await self._lock(selection)
        told = {event.stream_id for _, event in database.events} if known.created else set()
        archived = [job_id for job_id in known.created if job_id in told and job_id not in database.rows]
        found = Found(held=held, now=database.now(), stored=stored, holders=holders, archived=archived)
        await database.faults.way()
        database.faults.connection()
        return found

    async def _claim(self, selection: Claimable) -> Found:
        database, queue, kinds = self._database, selection.queue, selection.kinds
        self._session.starts_jobs = True
        keys = allowance.keys_of(queue, kinds)
        permit = None
        if controls := database.controls_of(keys):
            for item in controls:
                if item.control.limits is not None:
                    await database.locks.take(self._session, control_lock(item.control.target.key))
            controls = database.controls_of(keys)
            permit = allowance.permit(controls, queue, kinds, selection.limit, database.now())
        held = [self._with_payload(row) for row in self._skip_locked(self._next(selection, permit), selection.limit)]
        found = Found(held, database.now(), {}, {}, permit)
        await database.faults.way()
        database.faults.connection()
        return found

    def _next(self, selection: Claimable, permit: allowance.Permit | None) -> list[Row]:
        some = [row for row in self._database.rows.values() if _claimable(row, selection.queue, selection.kinds)]
        some.sort(key=lambda row: (not row.job.forced, -row.job.priority, row.job.run_at, row.job.id))
        if permit is None:
            return some
        left = dict(permit.kinds)
        allowed: list[Row] = []
        for row in some:
            kind = row.job.kind
            if left.get(kind, 0) and len(allowed) < permit.most and (row.job.forced or kind not in permit.forced):
                left[kind] -= 1
                allowed.append(row)
        return allowed

    def presume(self, starting: Collection[str] = ()) -> Found:
        """Nothing is there."""
        self._starting = starting
        return Found(held=[], now=self._database.now(), stored={}, holders={})

    async def _lock_keys(self, known: Known) -> dict[UniqueKey, JobId]:
        if not known.unique_keys and not known.retried:
            return {}
        wanted = self._wanted(known)
        for key in sorted(wanted):
            await self._database.locks.take(self._session, key_lock(key))
        await asyncio.sleep(0)
        return self._database.holders_of(self._wanted(known))

    def _wanted(self, known: Known) -> set[UniqueKey]:
        retried = [row.job for job_id in known.retried if (row := self._database.rows.get(job_id))]
        return {*known.unique_keys, *((job.kind, job.unique_key) for job in retried if job.unique_key is not None)}

    async def _lock(self, selection: ById | Overdue) -> list[Held]:
        database = self._database
        match selection:
            case ById(ids):
                there = [job_id for job_id in in_order(ids) if job_id in database.rows]
                for number, job_id in enumerate(there):
                    if number:  # others get between two locks
                        await database.faults.on_the_server()
                    await self._lock_row(job_id)
                return [database.rows[job_id].held() for job_id in there]
            case Overdue(due, limit):
                some = [row for row in database.rows.values() if database.is_due(row, due)]
                some.sort(key=lambda row: row.job.id)
                return [row.held() for row in self._skip_locked(some, limit)]
            case _:
                assert_never(selection)

    async def _lock_row(self, job_id: JobId) -> None:
        await self._database.locks.take(self._session, row_lock(job_id))

    def _skip_locked(self, some: Iterable[Row], limit: int) -> list[Row]:
        free: list[Row] = []
        for row in some:
            if len(free) == limit:
                break
            if self._database.locks.try_take(self._session, row_lock(row.job.id)):
                free.append(row)
        return free

    def _with_payload(self, row: Row) -> Held:
        held = row.held()
        kept = self._database.bodies.get(row.job.payload_ref or "")
        if kept is not None:
            data = kept[1].data
            held.payload_bytes = len(data)
            held.payload = data if len(data) <= _SMALL_PAYLOAD_BYTES else None
        return held

    async def write(self, changes: Changes) -> None:
        """Nothing happens yet: it travels together with the commit."""
        self._changes = changes

    async def commit(self) -> None:
        """Send what is left to the server, which comes to an end of it even if we die meanwhile."""
        database = self._database
        await database.faults.way()
        database.faults.connection()
        self._session.committing = True
        finish = self._finish(self._changes or Changes(database.now()))
        task = asyncio.get_running_loop().create_task(finish, context=database.server.context.copy())
        failure = await asyncio.shield(task)
        await database.faults.way()
        database.faults.connection()
        if failure is not None:
            raise failure

    async def _finish(self, changes: Changes) -> Exception | None:
        """On the server: one statement and COMMIT."""
        try:
            await self._write(changes)
        except (psycopg.Error, Unavailable, Controlled) as error:
            return error
        finally:
            self._database.end(self._session)
        return None

    async def _write(self, changes: Changes) -> None:
        database, session = self._database, self._session
        await database.faults.on_the_server()
        session.starts_jobs = session.starts_jobs or bool(self._starting)
        if database.controls_of(self._starting):
            raise Controlled
        count = len(changes.events)
        if count or changes.outcomes:
            await database.locks.take(session, HEAD)
            if database.halted is not None:
                raise Unavailable("Writes are halted.", code=HALTED)
        base = database.take_positions(count) if count else 0
        try:
            for command_id, _, _ in changes.outcomes:
                await database.locks.take(session, command_lock(command_id))
            staged = _staged(changes, base, database)
            await database.faults.on_the_server()
            database.check_unique(staged)
            database.faults.connection()
        except psycopg.Error:
            if count:
                database.give_back(count)
            raise
        database.commit(staged)
        if count:
            self.head = base + count


def in_order(ids: Iterable[JobId]) -> list[JobId]:
    """In the order in which everybody locks them."""
    return sorted(set(ids))


def _claimable(row: Row, queue: str, kinds: Iterable[str]) -> bool:
    return row.ready and row.job.queue == queue and row.job.kind in kinds


def _staged(changes: Changes, base: int, database: MemoryDatabase) -> Staged:
    staged = Staged()
    staged.events = [(base + n, event) for n, event in enumerate(changes.events, start=1)]
    staged.bodies = list(changes.bodies)
    staged.paid = dict(changes.paid)
    staged.counts = {key: n for key, n in changes.counts.items() if n}
    staged.groups = list(changes.groups)
    staged.gone = [item.job.id for item, _ in changes.rows if item.archived]
    for item, n in changes.rows:
        if item.archived:
            continue
        before = database.rows.get(item.job.id)
        staged.rows[item.job.id] = Row(
            job=item.job,
            position=base + n,
            traceparent=item.traceparent,
            correlation_id=item.correlation_id,
            ready=rows.ready(item.job, changes.now),
            lease_until=rows.lease_end(item, changes.now),
            lease_request=item.lease_request,
            progress=before.progress if before and not item.started else None,
        )
    for command_id, outcome, offset in changes.outcomes:
        position = base + offset if offset is not None else None
        staged.outcomes[command_id] = Stored(
            outcome.body_digest,
            outcome.status,
            outcome.code,
            outcome.detail,
            outcome.facts,
            outcome.job_id,
            position,
        )
    return staged
