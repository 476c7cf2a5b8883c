"""Claims: ready jobs of one queue are leased to all workers that wait for them, in one transaction.

A claim never takes more than fits into the answers, so nothing is leased only to be given back. Jobs that are about to
be made are dealt by the same rules.
"""

import secrets
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue
from pydantic_core import from_json

from jobplane.contracts.actors import worker as worker_actor
from jobplane.contracts.commands import CreateJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import MAX_LEASE_REPLY_BYTES, LeasedJob, LeaseRequest
from jobplane.jobs import bodies, rows
from jobplane.jobs.allowance import Permit
from jobplane.jobs.decider import Accepted, LeaseJob
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.rows import Held
from jobplane.jobs.store import Claimable
from jobplane.jobs.wishes import Cause, Settled, Wish

_GIVEN: Final = f"""
SELECT {rows.LOCKED_COLUMNS}, NULL, coalesce((SELECT length(data) FROM body WHERE ref = payload_ref), 0)
FROM job WHERE worker = %s AND status = 'RUNNING' AND lease_request = %s ORDER BY id
"""  # noqa: S608 - constants
MAX_CLAIM: Final = 512
_BESIDE_BYTES: Final = 1024
"""At most so much is told of a job beside its payload and its tags."""
_OF_A_TAG_BYTES: Final = 4
"""A character of a tag takes at most so many."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """What a claim gave."""

    jobs: list[list[LeasedJob]]
    """One list for each request, in order."""
    permit: Permit | None = None
    """What might start, where something is paused or limited."""


class Claims:
    """Leases jobs to workers."""

    def __init__(self, ledger: Ledger, pool: AsyncConnectionPool) -> None:
        self._ledger = ledger
        self._pool = pool

    async def claim(self, queue: str, requests: Sequence[LeaseRequest]) -> Dealt:
        """Jobs for some requests that want the same kinds, dealt in turn: all get work."""
        kinds = sorted({kind for request in requests for kind in request.kinds})
        limit = min(MAX_CLAIM, sum(request.max for request in requests))
        owners: dict[str, int] = {}

        def plan(found: Sequence[Held], _now: datetime) -> list[Wish]:
            owners.clear()  # a repeated transaction finds other rows
            dealt = _deal([_size(item) for item in found], [_wanted(request) for request in requests])
            owners.update((found[at].job.id, number) for number, at in dealt)
            return [_wish(found[at].job.id, requests[number]) for number, at in dealt]

        settled, permit = await self._ledger.claim(Claimable(queue, kinds, limit), plan)
        leased = [item.held for item in settled if isinstance(item.decision, Accepted) and item.held is not None]
        jobs = await self._told(leased)
        dealt: list[list[LeasedJob]] = [[] for _ in requests]
        for job in jobs:
            dealt[owners[job.job]].append(job)
        return Dealt(dealt, permit)

    async def given(self, request: LeaseRequest) -> list[LeasedJob]:
        """What this request was given before, perhaps by another replica; as much of it as fits into one answer."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute(_GIVEN, (request.worker, request.request_id))
            found = [rows.held(row) for row in await cursor.fetchall()]
        everything = {item.job.kind for item in found}, len(found)
        return await self._told([found[at] for _, at in _deal([_size(item) for item in found], [everything])])

    async def _told(self, held: Sequence[Held]) -> list[LeasedJob]:
        payloads: dict[str, JsonValue] = {
            item.job.payload_ref: from_json(item.payload) for item in held if item.job.payload_ref and item.payload
        }
        large = [item.job.payload_ref for item in held if item.payload is None and item.job.payload_ref]
        if large:
            async with self._pool.connection() as conn:
                payloads |= await bodies.load(conn, large)
        return [leased_job(item, payloads) for item in held]


def of_new_jobs(creations: Sequence[Wish], requests: Sequence[LeaseRequest]) -> list[tuple[int, Wish]]:
    """(number of the request, its lease of a job that is about to be made), in the order of taking."""
    made = [(wish, wish.command) for wish in creations if isinstance(wish.command, CreateJob)]
    made.sort(key=lambda pair: (-pair[1].priority, pair[1].job_id))
    sizes = [(job.kind, _told_bytes(len(wish.body.data) if wish.body else 0, job.tags)) for wish, job in made]
    dealt = _deal(sizes, [_wanted(request) for request in requests])
    return [(number, _wish(made[at][1].job_id, requests[number])) for number, at in dealt]


def new_job(creation: CreateJob, lease: Settled) -> LeasedJob | None:
    """What a worker gets of a job that was made and leased in one transaction, if it was."""
    if lease.held is None or not isinstance(lease.decision, Accepted):
        return None
    return leased_job(lease.held, {lease.held.job.payload_ref or "": creation.payload})


def _deal(jobs: Sequence[tuple[str, int]], wanted: Sequence[tuple[Collection[str], int]]) -> list[tuple[int, int]]:
    """(number of the request, number of the job): one each in turn, none more than it wants or than fits its answer.

    Jobs are told by kind and size, requests by kinds and how many they want at most. A job that does not fit ends the
    dealing to that request; the first job always fits.
    """
    dealt: list[tuple[int, int]] = []
    sizes = [0] * len(wanted)
    counts = [0] * len(wanted)
    hungry = deque(number for number, (_, most) in enumerate(wanted) if most > 0)
    for at, (kind, size) in enumerate(jobs):
        while (number := next((one for one in hungry if kind in wanted[one][0]), None)) is not None:
            hungry.remove(number)
            if counts[number] and sizes[number] + size > MAX_LEASE_REPLY_BYTES:
                continue
            dealt.append((number, at))
            sizes[number] += size
            counts[number] += 1
            if counts[number] < wanted[number][1]:
                hungry.append(number)
            break
    return dealt


def _wanted(request: LeaseRequest) -> tuple[Collection[str], int]:
    return frozenset(request.kinds), request.max


def _size(item: Held) -> tuple[str, int]:
    return item.job.kind, _told_bytes(item.payload_bytes, item.job.tags)


def _told_bytes(payload_bytes: int, tags: Sequence[str]) -> int:
    """At most how large a job is in an answer."""
    return payload_bytes + _BESIDE_BYTES + sum(_OF_A_TAG_BYTES * len(tag) + len('"",') for tag in tags)


def _wish(job_id: JobId, request: LeaseRequest) -> Wish:
    command = LeaseJob(job_id, request.worker, secrets.token_hex(16), request.lease_ms)
    return Wish(command, Cause(worker_actor(request.worker)), lease_request=request.request_id)


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
