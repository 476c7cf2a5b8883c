"""What can be asked of a job's past: its history with every change, its attempts, the job as it was."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue

from jobplane.contracts import cursors, instants
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import CommandId, Position
from jobplane.contracts.job_events import JobArchived
from jobplane.contracts.jobs import Attempts, Change, History, HistoryItem, JobView
from jobplane.contracts.queries import OneJob, OneJobAttempts, OneJobHistory
from jobplane.jobs import bodies
from jobplane.jobs.attempts import attempts_of, error_references, stopping_of
from jobplane.jobs.differences import changes, references
from jobplane.jobs.job import Job, evolve, fold
from jobplane.jobs.past import events_of, told
from jobplane.jobs.read_model import ReadModel, fitting, not_found, view
from jobplane.jobs.redaction import BY_DEFAULT, Redaction

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_ROUTING: Final = frozenset({"queue", "kind", "before", "after"})
_HEAD: Final = "SELECT pos, clock_timestamp() FROM journal_head"
_SKEW: Final = timedelta(seconds=2)
"""So much may the clock of whoever asks be ahead of the database's."""
_STOP_EVENTS: Final = 3
"""Behind a cancel come at most two more: unconfirmed, then what its worker told late."""


class Histories:
    """Looks back; the journal is asked anew each time."""

    def __init__(self, pool: AsyncConnectionPool, read_model: ReadModel, redaction: Redaction = BY_DEFAULT) -> None:
        self._pool = pool
        self._read_model = read_model
        self._redaction = redaction

    async def detail(self, query: OneJob) -> JobView:
        """One job, whole: as it is now, or as it was.

        Raises:
            Refused: `job_not_found`: also if it was not there yet; `position_not_reached`, `as_of_in_the_future`.
        """
        if query.at is not None or query.position is not None:
            return await self._as_it_was(query)
        now = (await self._read_model.views([query.job_id])).get(query.job_id)
        if now is None:
            return await self._as_it_was(query)  # archived, or never there
        if now.stop is None:
            return now
        async with self._pool.connection() as conn:
            last = await events_of(conn, query.job_id, max(0, now.version - _STOP_EVENTS))
        return now.model_copy(update={"stopping": stopping_of(told(last))})

    async def _as_it_was(self, query: OneJob) -> JobView:
        async with self._pool.connection() as conn:
            if query.at is not None or query.position is not None:
                [(head, now)] = await (await conn.execute(_HEAD)).fetchall()
                refuse_to_foresee(query, head, now)
            ever = await events_of(conn, query.job_id)
            events = [event for event in ever if _was_there(event, query)]
            history = told(events)
            job = fold(history)
            if job is None:
                raise _not_there_yet(ever[0]) if ever else not_found(query.job_id)
            texts = await bodies.shown(conn, references(job), self._redaction)
        shown = view(job, events[-1].position, None, texts)
        archived = events[-1].at if events[-1].type == JobArchived.TYPE else None
        stopping = stopping_of(history) if job.stop else None
        return shown.model_copy(update={"stopping": stopping, "archived_at": archived})

    async def history(self, query: OneJobHistory) -> History:
        """The events of a job, oldest first, each with what it changed.

        Raises:
            Refused: `job_not_found`, `invalid_cursor`.
        """
        after = int(cursors.opened(query.cursor, _NUMBER)[0]) if query.cursor else 0
        async with self._pool.connection() as conn:
            events = await events_of(conn, query.job_id)
            steps = [step for step in _steps(events) if step[0].version > after]
            shown = steps[: query.limit]
            texts = await bodies.shown(conn, _bodies_of(shown), self._redaction)
        if not events:
            raise not_found(query.job_id)
        items = fitting([_item(event, changes(before, job, texts), texts) for event, before, job in shown])
        more = len(steps) > len(items)
        return History(items=items, next_cursor=cursors.sealed(str(items[-1].version)) if more else None)

    async def attempts(self, query: OneJobAttempts) -> Attempts:
        """The runs of a job, oldest first.

        Raises:
            Refused: `job_not_found`, `invalid_cursor`.
        """
        after = int(cursors.opened(query.cursor, _NUMBER)[0]) if query.cursor else 0
        async with self._pool.connection() as conn:
            history = told(await events_of(conn, query.job_id))
            page = [
                (event, meta)
                for event, meta in history
                if after < (getattr(event, "run", None) or 0) <= after + query.limit
            ]
            texts = await bodies.shown(conn, error_references(event for event, _ in page), self._redaction)
        if not history:
            raise not_found(query.job_id)
        runs = [run for run in attempts_of(history, texts) if run.run > after]
        items = fitting(runs[: query.limit])
        more = len(runs) > len(items)
        return Attempts(items=items, next_cursor=cursors.sealed(str(items[-1].run)) if more else None)


def refuse_to_foresee(query: OneJob, head: int, now: datetime) -> None:
    """Nobody knows how a job will be: what is answered for then would be another answer later.

    Raises:
        Refused: `position_not_reached`, `as_of_in_the_future`.
    """
    if query.position is not None and query.position > head:
        detail = f"The journal ends at position {head}: give the position that an answer told."
        raise Refused("position_not_reached", detail, {"position": head})
    if query.at is not None and query.at > now + _SKEW:
        told = instants.written(now.replace(microsecond=0))
        detail = f"Here it is {told}: give an instant that is over, or leave as_of out."
        raise Refused("as_of_in_the_future", detail, {"now": told})


def _not_there_yet(created: EventRecord) -> Refused:
    detail = (
        f"The job was not there yet: it was created at {instants.written(created.at)} (position {created.position})."
    )
    return Refused("job_not_found", detail, {"job_id": created.stream_id, "created_at": instants.written(created.at)})


def _was_there(event: EventRecord, query: OneJob) -> bool:
    early_enough = query.at is None or event.at <= query.at
    return early_enough and (query.position is None or event.position <= query.position)


def _steps(events: Sequence[EventRecord]) -> list[tuple[EventRecord, Job | None, Job]]:
    """Each event with the job before and after it."""
    job: Job | None = None
    steps: list[tuple[EventRecord, Job | None, Job]] = []
    for event, (body, meta) in zip(events, told(events), strict=True):
        before, job = job, evolve(job, body, meta)
        steps.append((event, before, job))
    return steps


def _bodies_of(steps: Sequence[tuple[EventRecord, Job | None, Job]]) -> set[str | None]:
    return {ref for event, before, job in steps for ref in (*references(before), *references(job), *_refs(event))}


def _refs(event: EventRecord) -> list[str | None]:
    data = event.body()
    error = data.get("error") or {}
    return [(data.get("result") or {}).get("ref"), (error.get("body") or {}).get("ref")]


def _item(event: EventRecord, changed: list[Change], texts: Mapping[str, JsonValue]) -> HistoryItem:
    data = event.body()
    said: dict[str, JsonValue] = {name: value for name, value in data.items() if name not in _ROUTING}
    if "changed" in data:
        # What an edit changed is in `changes`, with the payloads themselves; twice they might not fit a message.
        said = {"changed": said["changed"]}
    for name in ("payload", "result"):
        if name in said:
            said[name] = texts.get((data[name] or {}).get("ref", ""))
    if isinstance(data.get("error"), dict):
        body = texts.get((data["error"].get("body") or {}).get("ref", ""))
        error: dict[str, JsonValue] = {"type": data["error"]["type"], "fingerprint": data["error"]["fingerprint"]}
        said["error"] = error | (body if isinstance(body, dict) else {})
    # What an operation does is caused by the command that began it.
    command = event.causation_id if event.operation_id else event.command_id
    return HistoryItem(
        position=Position(event.position),
        version=event.version,
        type=event.type,
        at=event.at,
        actor=event.actor,
        reason=event.reason,
        command_id=CommandId(command) if command else None,
        operation_id=event.operation_id,
        trace_id=event.trace_id,
        before=data.get("before"),
        after=data["after"],
        data=said,
        changes=changed,
    )
