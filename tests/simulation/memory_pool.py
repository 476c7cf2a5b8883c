"""A pool whose connections know the few statements that go past the store: each is a transaction of its own."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final

from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus, JobView, StopState
from jobplane.jobs import beats, claims, rescuer, scheduler
from jobplane.jobs.job import Job
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.postgres_store import ANY_DUE
from jobplane.jobs.read_model import view
from jobplane.jobs.store import Due
from tests.simulation.memory_database import MemoryDatabase, Row, Session, row_lock

Told = list[tuple[Any, ...]]
_BODIES: Final = "SELECT ref, data FROM body WHERE ref = ANY(%s::uuid[])"
_FIELDS: Final = tuple(field.name for field in fields(Job))


class MemoryPool:
    """Lends connections that commit every statement by itself."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["MemoryConnection"]:
        yield MemoryConnection(self._database)


class MemoryConnection:
    """Carries out statements of the product by what they do; one that it does not know is an error."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> "MemoryCursor":
        """One round trip; what it does stays done even if its answer is lost."""
        database = self._database
        await database.faults.way()
        database.faults.connection()
        session = database.begin()
        try:
            told = await _KNOWN[statement](self, session, *parameters)
        finally:
            if session.owner is None or session.owner.alive:
                database.end(session)
        await database.faults.way()
        database.faults.connection()
        return MemoryCursor(told)

    async def _locked(self, session: Session, some: list[JobId], still: Callable[[Row], bool]) -> list[Row]:
        """Lock rows in order; a row that had to be waited for must still be what was looked for."""
        for job_id in some:
            await self._database.locks.take(session, row_lock(job_id))
        return [row for job_id in some if still(row := self._database.rows[job_id])]

    async def _extend(
        self, session: Session, ids: Sequence[JobId], tokens: Sequence[str], progresses: Sequence[float | None]
    ) -> Told:
        database = self._database
        told = {(job, token): progress for job, token, progress in zip(ids, tokens, progresses, strict=True)}

        def running(row: Row) -> bool:
            return row.job.status is JobStatus.RUNNING and (row.job.id, row.job.token) in told

        found: Told = []
        some = sorted({job for job in ids if job in database.rows and running(database.rows[job])})
        for row in await self._locked(session, some, running):
            progress = told[row.job.id, row.job.token or ""]
            ends = database.now() + timedelta(milliseconds=row.job.lease_ms or 0)
            changed = database.change(
                row.job.id,
                lease_until=max(row.lease_until or ends, ends),
                progress=row.progress if progress is None else progress,
                unmentioned_at=None,
            )
            found.append((row.job.id, row.job.token, changed.lease_until))
        return found

    async def _stopping(self, session: Session, ids: Sequence[JobId], tokens: Sequence[str]) -> Told:
        database = self._database
        told = set(zip(ids, tokens, strict=True))

        def stopping(row: Row) -> bool:
            return row.job.stop is StopState.PENDING and (row.job.id, row.job.stop_token) in told

        some = sorted({job for job in ids if job in database.rows and stopping(database.rows[job])})
        found: Told = []
        for row in await self._locked(session, some, stopping):
            database.change(row.job.id, lease_until=database.now() + timedelta(milliseconds=row.job.lease_ms or 0))
            found.append((row.job.id, row.job.stop_token))
        return found

    async def _unmentioned(self, session: Session, workers: Sequence[str], mentioned: Sequence[JobId]) -> Told:
        database, now = self._database, self._database.now()
        found: Told = []
        for job_id in sorted(database.rows):
            row = database.rows[job_id]
            job = row.job
            if job.status is not JobStatus.RUNNING or job.worker not in workers or job_id in mentioned:
                continue
            if database.locks.try_take(session, row_lock(job_id)):
                since = row.unmentioned_at
                database.change(job_id, unmentioned_at=since or now)
                quarter = timedelta(milliseconds=(job.lease_ms or 0) / 4)
                found.append((job_id, job.token, job.worker, since is not None and since < now - quarter))
        return found

    async def _ready(self, session: Session, limit: int) -> Told:
        database = self._database
        due = [row for row in database.rows.values() if _waits(row) and row.job.run_at <= database.now()]
        due.sort(key=lambda row: row.job.run_at)
        found: Told = []
        for job_id in sorted(row.job.id for row in due[:limit]):
            if database.locks.try_take(session, row_lock(job_id)):
                database.change(job_id, ready=True)
                found.append((database.rows[job_id].job.queue,))
        return found

    async def _next(self, _session: Session) -> Told:
        waiting: list[datetime] = [row.job.run_at for row in self._database.rows.values() if _waits(row)]
        return [((min(waiting) - self._database.now()).total_seconds() if waiting else None,)]

    async def _served(self, _session: Session, pause: timedelta) -> Told:
        self._database.serve_beats(pause)
        return []

    async def _any_due(self, _session: Session) -> Told:
        rows = list(self._database.rows.values())
        return [tuple(any(self._database.is_due(row, due) for row in rows) for due in Due)]

    async def _given(self, _session: Session, worker: str, request_id: str) -> Told:
        found: Told = []
        for job_id in sorted(self._database.rows):
            row = self._database.rows[job_id]
            job = row.job
            if job.worker == worker and job.status is JobStatus.RUNNING and row.lease_request == request_id:
                kept = self._database.bodies.get(job.payload_ref or "")
                size = len(kept[1].data) if kept else 0
                columns = (getattr(job, name) for name in _FIELDS)
                found.append((*columns, row.lease_until, row.traceparent, row.correlation_id, row.position, None, size))
        return found

    async def _bodies(self, _session: Session, refs: Sequence[str]) -> Told:
        return [(ref, self._database.bodies[ref][1].data) for ref in refs if ref in self._database.bodies]


_KNOWN: Final[Mapping[str, Callable[..., Coroutine[None, None, Told]]]] = {
    beats._EXTEND: MemoryConnection._extend,
    beats._STOPPING: MemoryConnection._stopping,
    beats._UNMENTIONED: MemoryConnection._unmentioned,
    scheduler._READY: MemoryConnection._ready,
    scheduler._NEXT: MemoryConnection._next,
    rescuer._SERVED: MemoryConnection._served,
    ANY_DUE: MemoryConnection._any_due,
    claims._GIVEN: MemoryConnection._given,
    _BODIES: MemoryConnection._bodies,
}


class MemoryCursor:
    """What a statement gave."""

    def __init__(self, told: Told) -> None:
        self._told = told

    async def fetchall(self) -> Told:
        return self._told

    async def fetchone(self) -> tuple[Any, ...] | None:
        return self._told[0] if self._told else None


class MemoryReadModel:
    """The part of `read_model.ReadModel` that answers to commands need."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def explained(self, told: Sequence[Stored]) -> list[Stored]:
        """Nobody here asks who was faster."""
        return list(told)

    async def views(self, ids: Sequence[str]) -> dict[str, JobView]:
        await self._database.faults.way()
        self._database.faults.connection()
        found = [row for job_id in ids if (row := self._database.rows.get(JobId(job_id))) is not None]
        return {row.job.id: view(row.job, row.position, row.progress, {}) for row in found}


def _waits(row: Row) -> bool:
    return row.job.status is JobStatus.PENDING and not row.ready
