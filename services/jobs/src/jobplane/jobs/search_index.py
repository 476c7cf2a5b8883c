"""The index of the search: follows the journal in PostgreSQL, a few events behind, and makes anew what they touched."""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.arrays import plain, texts
from jobplane.contracts.actors import HUMAN_KINDS
from jobplane.contracts.job_events import (
    JobCompleted,
    JobFinishedAnyway,
    JobReleased,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.operations import JobsChanged
from jobplane.jobs.id_times import Skew
from jobplane.jobs.redaction import NOTHING, Redaction
from jobplane.jobs.search_terms import Searched, terms_of

log = structlog.get_logger()

EVERY_S: Final = 0.5
_FORM: Final = "2"
"""Of what is indexed: with another one the index is made anew."""
_EVENTS: Final = 1500
"""Of one transaction: short, because vacuum waits for it."""
_JOBS: Final = 64
"""Made terms of at once: the commands of this process wait so long."""
_GIVE_WAY: Final = 2.0
"""While others write, the index rests so many times as long as it works."""
_LOOK_S: Final = 0.05
_HOLD_BACK_S: Final = 0.5
"""So long it does not begin while `busy`: most bulk operations are over by then."""
_MANY: Final = 200
"""Events that came during one batch: others write."""
_SAYS_NOTHING: Final = frozenset(
    event.TYPE for event in (JobStarted, JobReleased, JobStopConfirmed, JobFinishedAnyway, JobStopUnconfirmed)
)
"""Nothing that is indexed changes by these."""
_LOCK: Final = "SELECT position, redaction, earliest_ms, latest_ms FROM search_progress FOR UPDATE SKIP LOCKED"
_NEXT: Final = """
SELECT pos, stream_id, type, actor ->> 'kind', actor ->> 'id' FROM event WHERE pos > %s ORDER BY pos LIMIT %s
"""
_MANY_JOBS: Final = """
SELECT data ->> 'type', item ->> 'job' FROM event, json_array_elements(data -> 'items') AS item WHERE pos = %s
"""
_FAILED_BEFORE: Final = "SELECT job_id FROM job_search WHERE job_id = ANY(%s::uuid[]) AND failed"
_JOB: Final = """
SELECT job.id, job.kind, job.tags, job.asset, job.error_type, job.error_fingerprint, payload.data, error.data,
    indexed.actors, job.status, job.created_at
FROM job
LEFT JOIN body AS payload ON payload.ref = job.payload_ref
LEFT JOIN body AS error ON error.ref = job.error_ref
LEFT JOIN job_search AS indexed ON indexed.job_id = job.id
WHERE job.id = ANY(%s::uuid[])
"""
_PUT: Final = """
INSERT INTO job_search AS s (job_id, terms, actors, failed)
SELECT u.job_id, u.terms::tsvector, u.actors::text[], u.failed
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::boolean[]) AS u (job_id, terms, actors, failed)
ON CONFLICT (job_id) DO UPDATE SET terms = excluded.terms, actors = excluded.actors, failed = excluded.failed
    WHERE (s.terms, s.actors, s.failed) IS DISTINCT FROM (excluded.terms, excluded.actors, excluded.failed)
"""
_DROP: Final = "DELETE FROM job_search WHERE job_id = ANY(%s::uuid[])"
_MOVE: Final = "UPDATE search_progress SET position = %s, earliest_ms = %s, latest_ms = %s"
_BEGIN: Final = "UPDATE search_progress SET position = 0, earliest_ms = 0, latest_ms = 0, redaction = %s"
_FIGURES: Final = "SELECT pos, position FROM journal_head, search_progress"


class SearchIndex:
    """Replicas take turns: whoever holds the row of the progress works; while `busy` others, it rests more."""

    def __init__(
        self, pool: AsyncConnectionPool, redaction: Redaction, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._pool = pool
        self._redaction = redaction
        self._busy = busy
        self._form = f"{_FORM}:{redaction.digest}"

    async def run_once(self) -> int:
        """Read on to where the journal ends now, resting now and then while others write; gives how many events."""
        await self._hold_back()
        read = 0
        head, _ = await self.figures()
        seen = head
        while True:
            began = time.monotonic()
            some = await self._step()
            read += some
            now, position = await self.figures()
            if not some or position >= head:
                return read
            if now - seen > _MANY or self._busy():
                await asyncio.sleep(_GIVE_WAY * (time.monotonic() - began))
            seen = now

    async def _hold_back(self) -> None:
        until = time.monotonic() + _HOLD_BACK_S
        while self._busy() and time.monotonic() < until:  # noqa: ASYNC110 - half a second at most
            await asyncio.sleep(_LOOK_S)

    async def reach(self, position: int) -> None:
        """Return when everything up to this position is indexed, by us or by another replica."""
        while (await self.figures())[1] < position:
            if not await self._step():
                await asyncio.sleep(_LOOK_S)

    async def figures(self) -> tuple[int, int]:
        """The last position of the journal, and the last that is indexed."""
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_FIGURES)).fetchone()
        return (0, 0) if row is None else (row[0], row[1])

    async def _step(self) -> int:
        """One transaction; gives how many events it read."""
        async with self._pool.connection() as conn, conn.transaction():
            row = await (await conn.execute(_LOCK)).fetchone()
            if row is None:  # another replica is at it
                return 0
            position, form, *skew = row
            if form != self._form:
                await self._begin_anew(conn)
                position, skew = 0, [0, 0]
            found = await (await conn.execute(_NEXT, (position, _EVENTS))).fetchall()
            if not found:
                return 0
            touched = _Touched()
            for read, (at, *told) in enumerate(found, start=1):  # noqa: B007 - both are wanted afterwards
                await touched.take(conn, at, *told)
                if touched.many:
                    break
            if touched.completed:
                again = await conn.execute(_FAILED_BEFORE, (plain(sorted(touched.completed)),))
                touched.actors.update({row[0]: touched.actors.get(row[0], set()) for row in await again.fetchall()})
            created = await self._renew(conn, touched.actors)
            await conn.execute(_MOVE, (at, *Skew(*skew).widened(created)))
        return read

    async def _begin_anew(self, conn: AsyncConnection[Any]) -> None:
        """Other keys are secret now, or other terms wanted: nothing of what was indexed before may be found."""
        log.info("search_index.begun_anew")
        await conn.execute("TRUNCATE job_search")
        await conn.execute(_BEGIN, (self._form,))

    async def _renew(
        self, conn: AsyncConnection[Any], actors: Mapping[str, Collection[str]]
    ) -> list[tuple[str, datetime]]:
        """Index jobs as they are now, with who acted on them since; jobs that are no longer there are forgotten.

        Gives when each of them was created.
        """
        ids = sorted(actors)
        created: list[tuple[str, datetime]] = []
        for first in range(0, len(ids), _JOBS):
            some = ids[first : first + _JOBS]
            found = await (await conn.execute(_JOB, (plain(some),))).fetchall()
            entries = [_entry(row, actors[row[0]], self._redaction) for row in found]
            await conn.execute(
                _PUT,
                (
                    plain(entry[0] for entry in entries),
                    texts(entry[1] for entry in entries),
                    texts(texts(entry[2]) for entry in entries),
                    plain(entry[3] for entry in entries),
                ),
            )
            gone = set(some) - {row[0] for row in found}
            if gone:
                await conn.execute(_DROP, (plain(sorted(gone)),))
            created += [(row[0], row[-1]) for row in found]
            await asyncio.sleep(0)
        return created

    async def erased(self, conn: AsyncConnection[Any], job_ids: Iterable[str]) -> None:
        """Forget, in the transaction that erases bodies of these jobs, what was known of them; the rest stays."""
        await conn.execute("SELECT FROM search_progress FOR UPDATE")  # nobody indexes what he read before
        await self._renew(conn, dict.fromkeys(job_ids, ()))


class _Touched:
    """The jobs whose entries may change, with the people who acted on them; and jobs whose error may be over."""

    def __init__(self) -> None:
        self.actors: dict[str, set[str]] = {}
        self.completed: set[str] = set()

    @property
    def many(self) -> bool:
        """Whether these are enough for one transaction."""
        return len(self.actors) >= _EVENTS

    async def take(
        self, conn: AsyncConnection[Any], position: int, stream_id: str, event_type: str, kind: str, actor: str
    ) -> None:
        """Look at one event; one that tells of many jobs names them in its body."""
        if event_type == JobsChanged.TYPE:
            found = await (await conn.execute(_MANY_JOBS, (position,))).fetchall()
            for changed, job_id in found:
                self._take(job_id, changed, kind, actor)
        else:
            self._take(stream_id, event_type, kind, actor)

    def _take(self, job_id: str, event_type: str, kind: str, actor: str) -> None:
        if event_type in _SAYS_NOTHING or not event_type.startswith("job."):
            return
        if event_type == JobCompleted.TYPE:
            self.completed.add(job_id)
            return
        acted = self.actors.setdefault(job_id, set())
        if kind in HUMAN_KINDS:
            acted.add(actor)


def _entry(row: Sequence[Any], actors: Collection[str], redaction: Redaction) -> tuple[str, str, list[str], bool]:
    job_id, kind, tags, asset, error_type, fingerprint, payload, error, known, status, _ = row
    failed = error_type is not None or status == JobStatus.FAILED
    acted = sorted({*(known or ()), *actors})
    told = json.loads(error) if error is not None else None
    searched = Searched(
        id=job_id,
        kind=kind,
        tags=tags,
        asset=asset,
        actors=acted,
        payload=json.loads(payload) if payload is not None else None,
        failed=failed,
        error_type=error_type,
        error_fingerprint=fingerprint,
        error_message=(told.get("message") or "") if isinstance(told, dict) else "",
    )
    hides = any(body is not None and redaction.may_hide(body) for body in (payload, error))
    return job_id, terms_of(searched, redaction if hides else NOTHING), acted, failed
