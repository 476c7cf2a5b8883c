"""Claims: ready jobs of one queue are leased to all workers that wait for them, in one transaction.

A claim never takes more than fits into the answers, so nothing is leased only to be given back.
"""

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from psycopg_pool import AsyncConnectionPool
from pydantic import JsonValue
from pydantic_core import from_json

from jobplane.contracts.actors import worker as worker_actor
from jobplane.contracts.workers import MAX_LEASE_REPLY_BYTES, LeasedJob, LeaseRequest
from jobplane.jobs import bodies, rows
from jobplane.jobs.decider import Accepted, LeaseJob
from jobplane.jobs.job import Job
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.rows import Held
from jobplane.jobs.store import Claimable
from jobplane.jobs.wishes import Cause, Wish

_GIVEN: Final = f"""
SELECT {rows.LOCKED_COLUMNS}, NULL, coalesce((SELECT length(data) FROM body WHERE ref = payload_ref), 0)
FROM job WHERE worker = %s AND status = 'RUNNING' AND lease_request = %s ORDER BY id
"""  # noqa: S608 - constants
MAX_CLAIM: Final = 512
_BESIDE_BYTES: Final = 1024
"""At most so much is told of a job beside its payload and its tags."""
_OF_A_TAG_BYTES: Final = 4
"""A character of a tag takes at most so many."""


class Claims:
    """Leases jobs to workers."""

    def __init__(self, ledger: Ledger, pool: AsyncConnectionPool) -> None:
        self._ledger = ledger
        self._pool = pool

    async def claim(self, queue: str, requests: Sequence[LeaseRequest]) -> list[list[LeasedJob]]:
        """Jobs for some requests that want the same kinds: one list each, in order, dealt in turn: all get work."""
        kinds = sorted({kind for request in requests for kind in request.kinds})
        limit = min(MAX_CLAIM, sum(request.max for request in requests))
        owners: dict[str, int] = {}

        def plan(found: Sequence[Held], _now: datetime) -> list[Wish]:
            owners.clear()  # a repeated transaction finds other rows
            for number, item in _deal(found, [request.max for request in requests]):
                owners[item.job.id] = number
            return [_wish(item.job, requests[owners[item.job.id]]) for item in found if item.job.id in owners]

        settled = await self._ledger.write(Claimable(queue, kinds, limit), plan)
        leased = [item.held for item in settled if isinstance(item.decision, Accepted) and item.held is not None]
        jobs = await self._told(leased)
        dealt: list[list[LeasedJob]] = [[] for _ in requests]
        for job in jobs:
            dealt[owners[job.job]].append(job)
        return dealt

    async def given(self, request: LeaseRequest) -> list[LeasedJob]:
        """What this request was given before, perhaps by another replica; as much of it as fits into one answer."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute(_GIVEN, (request.worker, request.request_id))
            found = [rows.held(row) for row in await cursor.fetchall()]
        return await self._told([item for _, item in _deal(found, [len(found)])])

    async def _told(self, held: Sequence[Held]) -> list[LeasedJob]:
        payloads: dict[str, JsonValue] = {
            item.job.payload_ref: from_json(item.payload) for item in held if item.job.payload_ref and item.payload
        }
        large = [item.job.payload_ref for item in held if item.payload is None and item.job.payload_ref]
        if large:
            async with self._pool.connection() as conn:
                payloads |= await bodies.load(conn, large)
        return [leased_job(item, payloads) for item in held]


def _deal(found: Sequence[Held], wanted: Sequence[int]) -> list[tuple[int, Held]]:
    """(number of the request, job): one each in turn, none more than it wants or than fits into its answer.

    A job that does not fit ends the dealing to that request; the first job always fits.
    """
    dealt: list[tuple[int, Held]] = []
    sizes = [0] * len(wanted)
    counts = [0] * len(wanted)
    hungry = deque(number for number, most in enumerate(wanted) if most > 0)
    for item in found:
        size = _told_bytes(item)
        while hungry and counts[hungry[0]] and sizes[hungry[0]] + size > MAX_LEASE_REPLY_BYTES:
            hungry.popleft()
        if not hungry:
            break
        number = hungry.popleft()
        dealt.append((number, item))
        sizes[number] += size
        counts[number] += 1
        if counts[number] < wanted[number]:
            hungry.append(number)
    return dealt


def _told_bytes(item: Held) -> int:
    """At most how large a job is in an answer."""
    return item.payload_bytes + _BESIDE_BYTES + sum(_OF_A_TAG_BYTES * len(tag) + len('"",') for tag in item.job.tags)


def _wish(job: Job, request: LeaseRequest) -> Wish:
    command = LeaseJob(job.id, request.worker, secrets.token_hex(16), request.lease_ms)
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
