"""Leases: long polls of workers meet jobs that are ready.

Claims of one queue run one after the other, for all who wait at once. A job that somebody waits for already is leased
in the transaction that makes it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from jobplane.chassis import database
from jobplane.contracts.commands import CreateJob
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.contracts.subjects import is_queue_name
from jobplane.contracts.workers import LeasedJob, LeaseReply, LeaseRequest
from jobplane.jobs.allowance import Permit
from jobplane.jobs.claims import MAX_CLAIM, Claims, new_job, of_new_jobs
from jobplane.jobs.wishes import Settled, Wish

log = structlog.get_logger()

LOOK_AGAIN_S: Final = 2.0
"""Other replicas announce ready jobs over the bus, which may lose an announcement.

So waiting polls also look by themselves.
"""
_MOST_PROMISED: Final = 16
_SOONEST_S: Final = 0.001
_REMEMBERED: Final = 256
"""Answers kept for requests that are repeated; older ones are found in the database."""


@dataclass(eq=False, slots=True)
class _Poll:
    """A worker that waits for jobs of one queue."""

    request: LeaseRequest
    answer: asyncio.Future[list[LeasedJob]]
    over: bool = False
    """Its time is over: it gets what the next look finds, or nothing."""
    looked: bool = False
    """It took part in a look."""
    promised: bool = False
    """A job that is about to be made may be its answer; no look gives it others meanwhile."""

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.request.kinds)))

    def end(self, jobs: list[LeasedJob]) -> None:
        """Answer, unless it was answered."""
        if not self.answer.done():
            self.answer.set_result(jobs)


@dataclass(eq=False, slots=True)
class _Desk:
    """The waiting polls of one queue."""

    polls: list[_Poll] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    looking: bool = False
    task: asyncio.Task[None] | None = None
    controlled: bool = False
    """Its queue, or a kind that was asked for, is paused or limited: nothing is promised."""
    again: asyncio.TimerHandle | None = None
    """Calls it when a rate allows the next start."""

    @property
    def looked_in_vain(self) -> bool:
        """Nothing was ready for any of its polls, and nothing became ready since: what is made now is next."""
        return not self.looking and not self.called.is_set() and not self.controlled

    def call_in(self, wait: timedelta) -> None:
        """Be called then, instead of when it was told before."""
        if self.again is not None:
            self.again.cancel()
        seconds = max(_SOONEST_S, wait.total_seconds())
        self.again = asyncio.get_running_loop().call_later(seconds, self.called.set)

    def free(self) -> list[_Poll]:
        """Polls without an answer, and without a promise of one."""
        return [poll for poll in self.polls if not poll.promised and not poll.answer.done()]


@dataclass(slots=True)
class Promises:
    """Jobs that are about to be made, and the polls that are to get them."""

    leases: list[Wish] = field(default_factory=list)
    """To be settled in the transaction that makes the jobs."""
    _made: dict[JobId, tuple[CreateJob, _Desk, _Poll]] = field(default_factory=dict)

    def add(self, creation: CreateJob, lease: Wish, desk: _Desk, poll: _Poll) -> None:
        """Promise one job."""
        poll.promised = True
        self.leases.append(lease)
        self._made[creation.job_id] = creation, desk, poll

    def keep(self, settled: Sequence[Settled]) -> None:
        """Answer with what was made and leased."""
        given: defaultdict[_Poll, list[LeasedJob]] = defaultdict(list)
        for lease in settled:
            creation, _, poll = self._made[lease.wish.command.job_id]
            job = new_job(creation, lease)
            if job is not None:
                given[poll].append(job)
        for poll, jobs in given.items():
            poll.end(jobs)

    def polls(self) -> list[tuple[_Desk, _Poll]]:
        """Each once, with its desk."""
        return list(dict.fromkeys((desk, poll) for _, desk, poll in self._made.values()))


class Leases:
    """Hands out jobs. `wake(queue)` tells that a queue may have jobs now."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._desks: dict[str, _Desk] = {}
        self._answers: dict[tuple[str, str], asyncio.Future[LeaseReply]] = {}
        self._waiting: dict[tuple[str, str], tuple[_Desk, _Poll]] = {}
        self._closed = False

    async def lease(self, queue: str, request: LeaseRequest) -> LeaseReply:
        """The answer to a long poll; the same for a repeated `request_id`, which with no wait of its own ends it."""
        if not is_queue_name(queue):
            return LeaseReply(error="invalid", detail="A queue is named by a-z, 0-9, _ and -, at most 64 of them.")
        if self._closed:
            return LeaseReply(error="unavailable", detail="This replica ends: ask again.")
        earlier = self._answers.get(_key(request))
        if earlier is not None:
            if request.wait_ms == 0 and _key(request) in self._waiting:
                _withdraw(*self._waiting[_key(request)])
            return await asyncio.shield(earlier)
        if request.repeated:
            given = await self._claims.given(request)
            if given or request.wait_ms == 0:  # the worker takes back a request that another replica knows
                return LeaseReply(jobs=given)
        answer = asyncio.ensure_future(self._poll(*self._enter(queue, request)))
        self._remember(request, answer)
        return await asyncio.shield(answer)

    def wake(self, queue: str) -> None:
        """Look for jobs of this queue, if anybody waits for them."""
        desk = self._desks.get(queue)
        if desk is not None:
            desk.called.set()

    @contextmanager
    def promising(self, wishes: Sequence[Wish]) -> Iterator[Promises]:
        """Promise jobs that are about to be made to polls that waited in vain, until the block ends.

        Polls that were given nothing then wait on. When the block raises, nobody knows what was given: they are told
        to ask again, and their repeated requests find it.
        """
        promises = Promises()
        try:
            self._promise(wishes, promises)
            yield promises
        except BaseException:
            _refuse_all([poll for _, poll in promises.polls()])
            raise
        finally:
            for desk, poll in promises.polls():
                self._release(desk, poll)

    def _promise(self, wishes: Sequence[Wish], promises: Promises) -> None:
        made = _made_at_once(wishes)
        for queue in sorted({creation.queue for creation in made.values()}):
            desk = self._desks.get(queue)
            if desk is None or not desk.looked_in_vain:
                continue
            polls = desk.free()
            creations = [wish for wish in wishes if made[wish.command.job_id].queue == queue]
            for number, lease in of_new_jobs(creations, [poll.request for poll in polls]):
                promises.add(made[lease.command.job_id], lease, desk, polls[number])

    def _release(self, desk: _Desk, poll: _Poll) -> None:
        """It waits on, if it got nothing; what a look found meanwhile was not for it."""
        poll.promised = False
        if poll.over or self._closed:
            poll.end([])
        if poll.answer.done():
            desk.polls.remove(poll)
        else:
            desk.called.set()

    async def close(self) -> None:
        """Give out nothing any more: finish the claims under way, and answer everybody else with nothing."""
        self._closed = True
        desks = list(self._desks.values())
        for desk in desks:
            desk.called.set()
        tasks = [desk.task for desk in desks if desk.task is not None]
        if tasks:
            await asyncio.wait(tasks)

    def _remember(self, request: LeaseRequest, answer: asyncio.Future[LeaseReply]) -> None:
        self._answers[_key(request)] = answer
        if len(self._answers) > _REMEMBERED:
            ended = [key for key, kept in self._answers.items() if kept.done()]
            for key in ended[: len(self._answers) - _REMEMBERED]:
                del self._answers[key]

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
            self._waiting.pop(_key(request), None)

    async def _serve(self, queue: str, desk: _Desk) -> None:
        """Claim for all who wait, whenever there may be something, until nobody waits."""
        while not self._closed and (desk.polls or await _called(desk)):
            await _called(desk)
            desk.called.clear()
            if not self._closed:
                await self._look(queue, desk)
        for poll in desk.free():
            poll.end([])
        self._desks.pop(queue, None)

    async def _look(self, queue: str, desk: _Desk) -> None:
        desk.looking = True
        permits: list[Permit] = []
        try:
            for kinds in dict.fromkeys(poll.kinds for poll in desk.free()):
                permits += await self._claim(queue, [poll for poll in desk.free() if poll.kinds == kinds])
            desk.controlled = bool(permits)
        except Exception as error:
            if not (database.is_away(error) or isinstance(error, Unavailable)):
                log.exception("leases.claim_failed", queue=queue)
            _refuse_all(desk.free())
        finally:
            desk.looking = False
        for poll in desk.free():
            if poll.over and poll.looked:
                poll.end([])
        desk.polls = [poll for poll in desk.polls if not poll.answer.done()]
        waits = [permit.again_in for permit in permits if permit.again_in is not None]
        if waits and desk.polls:
            desk.call_in(min(waits))

    async def _claim(self, queue: str, polls: Sequence[_Poll]) -> list[Permit]:
        """Give these polls, which want the same kinds, what there is; tells what keeps jobs from starting."""
        permits: list[Permit] = []
        while hungry := [poll for poll in polls if not poll.answer.done()]:
            for poll in hungry:
                poll.looked = True
            dealt = await self._claims.claim(queue, [poll.request for poll in hungry])
            for poll, jobs in zip(hungry, dealt.jobs, strict=True):
                if jobs:
                    poll.end(jobs)
            if dealt.permit is not None:
                permits.append(dealt.permit)
            if sum(map(len, dealt.jobs)) < MAX_CLAIM:
                break
        return permits


def _made_at_once(wishes: Sequence[Wish]) -> dict[JobId, CreateJob]:
    """Creations of jobs that are due at once, if all of a few wishes are.

    Beside others it is not known whose turn it is, and of many at once a claim takes more for each transaction.
    """
    if len(wishes) > _MOST_PROMISED:
        return {}
    commands = [wish.command for wish in wishes]
    made = {one.job_id: one for one in commands if isinstance(one, CreateJob) and one.run_at is None}
    return made if len(made) == len(wishes) else {}


def _key(request: LeaseRequest) -> tuple[str, str]:
    """Nobody gets the jobs of another worker by repeating what it asked."""
    return request.worker, request.request_id


async def _called(desk: _Desk) -> bool:
    """Wait until the desk is called, or should look by itself; whether it was called."""
    try:
        async with asyncio.timeout(LOOK_AGAIN_S):
            return await desk.called.wait()
    except TimeoutError:
        return False


def _expire(desk: _Desk, poll: _Poll) -> None:
    """The time of a long poll is over: it is answered by the look that it takes part in, or by one last look."""
    poll.over = True
    desk.called.set()


def _withdraw(desk: _Desk, poll: _Poll) -> None:
    """The worker wants no more jobs: only a look under way may still have some for it."""
    poll.over = True
    if not desk.looking and poll in desk.free():  # it is not, when it was answered a moment ago, or is about to be
        poll.end([])
        desk.polls.remove(poll)


def _refuse_all(polls: Sequence[_Poll]) -> None:
    """The database is away: tell everybody, so that they ask again a little later."""
    for poll in polls:
        if not poll.answer.done():
            poll.answer.set_exception(Unavailable("Jobs cannot be given out just now: ask again in a moment."))
