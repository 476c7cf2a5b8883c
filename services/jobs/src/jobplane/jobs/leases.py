"""Leases: long polls of workers meet jobs that are ready.

Claims of one queue run one after the other, for all who wait at once.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from psycopg import AsyncConnection, AsyncCursor
from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue

from jobplane.chassis import database
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import worker as worker_actor
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.subjects import is_queue_name
from jobplane.contracts.workers import MAX_LEASE_REPLY_BYTES, LeasedJob, LeaseReply, LeaseRequest
from jobplane.jobs import bodies, rows
from jobplane.jobs.decider import Accepted, LeaseJob, ReleaseJob
from jobplane.jobs.job import Job
from jobplane.jobs.ledger import Cause, Ledger, Settled, Wish
from jobplane.jobs.rows import Held

log = structlog.get_logger()

_CLAIM: Final = f"""
SELECT {rows.LOCKED_COLUMNS} FROM job WHERE queue = %s AND ready AND kind = ANY(%s)
ORDER BY forced DESC, priority DESC, run_at, id LIMIT %s FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constants
_GIVEN: Final = f"""
SELECT {rows.LOCKED_COLUMNS} FROM job WHERE worker = %s AND status = 'RUNNING' AND lease_request = %s ORDER BY id
"""  # noqa: S608 - constants
MAX_CLAIM: Final = 512
LOOK_AGAIN_S: Final = 2.0
"""Other replicas announce ready jobs over the bus, which may lose an announcement.

So waiting polls also look by themselves.
"""
_REMEMBERED: Final = 256
"""Answers kept for requests that are repeated; older ones are found in the database."""


@dataclass(eq=False, slots=True)
class _Poll:
    """A worker that waits for jobs of one queue."""

    request: LeaseRequest
    answer: asyncio.Future[list[LeasedJob]]
    over: bool = False
    """Its time is over: it gets what the next look finds, or nothing."""

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.request.kinds)))


@dataclass(slots=True)
class _Desk:
    """The waiting polls of one queue."""

    polls: deque[_Poll] = field(default_factory=deque)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    looking: bool = False
    task: asyncio.Task[None] | None = None


class Leases:
    """Hands out jobs. `wake(queue)` tells that a queue may have jobs now."""

    def __init__(self, ledger: Ledger, pool: AsyncConnectionPool) -> None:
        self._ledger = ledger
        self._pool = pool
        self._desks: dict[str, _Desk] = {}
        self._answers: dict[tuple[str, str], asyncio.Future[LeaseReply]] = {}
        self._waiting: dict[tuple[str, str], tuple[_Desk, _Poll]] = {}

    async def lease(self, queue: str, request: LeaseRequest) -> LeaseReply:
        """The answer to a long poll; the same for a repeated `request_id`, which with no wait of its own ends it."""
        if not is_queue_name(queue):
            return LeaseReply(error="invalid", detail="A queue is named by a-z, 0-9, _ and -, at most 64 of them.")
        earlier = self._answers.get(_key(request))
        if earlier is not None:
            if request.wait_ms == 0 and _key(request) in self._waiting:
                _withdraw(*self._waiting[_key(request)])
            return await asyncio.shield(earlier)
        if request.repeated and (given := await self._given(request)):
            return LeaseReply(jobs=given)
        answer = asyncio.ensure_future(self._poll(*self._enter(queue, request)))
        self._remember(request, answer)
        return await asyncio.shield(answer)

    def wake(self, queue: str) -> None:
        """Look for jobs of this queue, if anybody waits for them."""
        desk = self._desks.get(queue)
        if desk is not None:
            desk.called.set()

    async def close(self) -> None:
        """Answer everybody who waits with nothing."""
        for desk in self._desks.values():
            if desk.task is not None:
                desk.task.cancel()
            for poll in desk.polls:
                _answer(poll, [])

    def _remember(self, request: LeaseRequest, answer: asyncio.Future[LeaseReply]) -> None:
        self._answers[_key(request)] = answer
        while len(self._answers) > _REMEMBERED:
            self._answers.pop(next(iter(self._answers)))

    def _enter(self, queue: str, request: LeaseRequest) -> tuple[_Desk, _Poll]:
        """Let the request wait; at once, so that a repetition right behind it finds it waiting."""
        desk = self._desks.setdefault(queue, _Desk())
        poll = _Poll(request, asyncio.get_running_loop().create_future())
        desk.polls.append(poll)
        desk.called.set()
        if desk.task is None or desk.task.done():
            desk.task = asyncio.create_task(self._serve(queue, desk), name=f"leases {queue}")
        self._waiting[_key(request)] = (desk, poll)
        return desk, poll

    async def _poll(self, desk: _Desk, poll: _Poll) -> LeaseReply:
        request = poll.request
        timer = asyncio.get_running_loop().call_later(request.wait_ms / 1000, _expire, desk, poll)
        try:
            return LeaseReply(jobs=await poll.answer)
        except Unavailable as error:
            self._answers.pop(_key(request), None)
            return LeaseReply(error="unavailable", detail=error.detail)
        finally:
            timer.cancel()
            del self._waiting[_key(request)]

    async def _serve(self, queue: str, desk: _Desk) -> None:
        """Claim for all who wait, whenever there may be something."""
        while True:
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await desk.called.wait()
            except TimeoutError:
                if not desk.polls:
                    continue
            desk.called.clear()
            try:
                await self._claim_for_all(queue, desk)
            except Exception as error:
                if not (database.is_away(error) or isinstance(error, Unavailable)):
                    log.exception("leases.claim_failed", queue=queue)
                _refuse_all(desk)

    async def _claim_for_all(self, queue: str, desk: _Desk) -> None:
        desk.looking = True
        try:
            await self._look(queue, desk)
        finally:
            desk.looking = False
        for poll in [poll for poll in desk.polls if poll.over or poll.answer.done()]:
            _answer(poll, [])
            desk.polls.remove(poll)

    async def _look(self, queue: str, desk: _Desk) -> None:
        for kinds in dict.fromkeys(poll.kinds for poll in desk.polls):
            polls = [poll for poll in desk.polls if poll.kinds == kinds and not poll.answer.done()]
            shares = _Shares(polls)
            while shares.open:
                settled = await self._claim(queue, kinds, shares)
                leased = [item for item in settled if isinstance(item.decision, Accepted)]
                await self._hand_out(shares, leased)
                if len(leased) < MAX_CLAIM:
                    break

    async def _claim(self, queue: str, kinds: Sequence[str], shares: "_Shares") -> list[Settled]:
        async def lock(conn: AsyncConnection[Any]) -> AsyncCursor[Any]:
            return await conn.execute(_CLAIM, (queue, list(kinds), min(MAX_CLAIM, shares.open)))

        def plan(found: Sequence[Held], _now: datetime) -> list[Wish]:
            shares.deal(found)
            return [_wish(item.job, poll) for poll, share in shares.dealt.items() for item in share]

        return await self._ledger.write(lock, plan)

    async def _hand_out(self, shares: "_Shares", leased: Sequence[Settled]) -> None:
        async with self._pool.connection() as conn:
            payloads = await bodies.load(conn, (item.held.job.payload_ref for item in leased if item.held))
        by_id = {item.held.job.id: item.held for item in leased if item.held}
        for poll, share in shares.dealt.items():
            jobs = [leased_job(by_id[item.job.id], payloads) for item in share if item.job.id in by_id]
            kept, too_much = _fitting(jobs)
            if kept:
                _answer(poll, kept)
            if too_much:
                await self._give_back(poll.request.worker, too_much)

    async def _give_back(self, worker: str, jobs: Sequence[LeasedJob]) -> None:
        """Release what did not fit into an answer: at once, and uncounted."""
        cause = Cause(worker_actor(worker), new_id())
        await self._ledger.settle([Wish(ReleaseJob(item.job, item.token, "not delivered"), cause) for item in jobs])

    async def _given(self, request: LeaseRequest) -> list[LeasedJob]:
        """What this request was given before, perhaps by another replica."""
        async with self._pool.connection() as conn:
            found = [
                rows.held(row)
                for row in await (await conn.execute(_GIVEN, (request.worker, request.request_id))).fetchall()
            ]
            payloads = await bodies.load(conn, (item.job.payload_ref for item in found))
        return [leased_job(item, payloads) for item in found]


class _Shares:
    """Deals claimed jobs to polls, one each in turn, so that all workers get work."""

    def __init__(self, polls: Sequence[_Poll]) -> None:
        self._polls = list(polls)
        self.dealt: dict[_Poll, list[Held]] = {}

    @property
    def open(self) -> int:
        """How many jobs are still wanted."""
        return sum(poll.request.max - len(self.dealt.get(poll, ())) for poll in self._polls if not poll.answer.done())

    def deal(self, found: Sequence[Held]) -> None:
        """Deal anew (a repeated transaction finds other rows)."""
        self.dealt = {}
        hungry = deque(poll for poll in self._polls if not poll.answer.done())
        for item in found:
            if not hungry:
                return
            poll = hungry.popleft()
            share = self.dealt.setdefault(poll, [])
            share.append(item)
            if len(share) < poll.request.max:
                hungry.append(poll)


def _key(request: LeaseRequest) -> tuple[str, str]:
    """Nobody gets the jobs of another worker by repeating what it asked."""
    return request.worker, request.request_id


def _wish(job: Job, poll: _Poll) -> Wish:
    request = poll.request
    command = LeaseJob(job.id, request.worker, secrets.token_hex(16), request.lease_ms)
    return Wish(command, Cause(worker_actor(request.worker), new_id()), lease_request=request.request_id)


def leased_job(item: Held, payloads: Mapping[str, JsonValue]) -> LeasedJob:
    """What a worker gets of a job that was leased to it."""
    job = item.job
    started = job.started_at or job.created_at
    payload = payloads.get(job.payload_ref or "", {})
    return LeasedJob(
        job=job.id,
        kind=job.kind,
        queue=job.queue,
        run=job.run,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        token=job.token or "",
        payload=payload if isinstance(payload, dict) else {},
        asset=job.asset,
        tags=list(job.tags),
        lease_ends_at=started + timedelta(milliseconds=job.lease_ms or 0),
        deadline=None if job.timeout_ms is None else started + timedelta(milliseconds=job.timeout_ms),
        traceparent=item.traceparent,
    )


def _fitting(jobs: Sequence[LeasedJob]) -> tuple[list[LeasedJob], list[LeasedJob]]:
    """As many as fit into one answer, at least one; and the rest."""
    size = 0
    for count, job in enumerate(jobs):
        size += len(job.model_dump_json().encode()) + 1
        if size > MAX_LEASE_REPLY_BYTES and count:
            return list(jobs[:count]), list(jobs[count:])
    return list(jobs), []


def _answer(poll: _Poll, jobs: list[LeasedJob]) -> None:
    if not poll.answer.done():
        poll.answer.set_result(jobs)


def _expire(desk: _Desk, poll: _Poll) -> None:
    """The time of a long poll is over: it is answered by the look under way, or by one last look."""
    poll.over = True
    if not desk.looking:
        desk.called.set()


def _withdraw(desk: _Desk, poll: _Poll) -> None:
    """The worker wants no more jobs: only a look under way may still have some for it."""
    poll.over = True
    if not desk.looking:
        _answer(poll, [])
        if poll in desk.polls:
            desk.polls.remove(poll)


def _refuse_all(desk: _Desk) -> None:
    """The database is away: tell everybody, so that they ask again a little later."""
    for poll in desk.polls:
        if not poll.answer.done():
            poll.answer.set_exception(Unavailable("Jobs cannot be given out just now: ask again in a moment."))
    desk.polls.clear()
