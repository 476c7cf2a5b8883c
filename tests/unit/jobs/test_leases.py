"""Long polls without a database: who is answered when."""

import asyncio
from collections.abc import Sequence
from typing import cast

from jobplane.contracts.workers import LeasedJob, LeaseReply, LeaseRequest
from jobplane.jobs.claims import Claims
from jobplane.jobs.leases import Leases


class NoJobs:
    """Claims of an empty queue."""

    async def claim(self, _queue: str, requests: Sequence[LeaseRequest]) -> list[list[LeasedJob]]:
        return [[] for _ in requests]


async def test_a_request_can_be_taken_back_more_than_once() -> None:
    leases = Leases(cast("Claims", NoJobs()))
    request = LeaseRequest(request_id="request-1", worker="worker-1", kinds=["test.echo"], wait_ms=3000)
    back = request.model_copy(update={"wait_ms": 0, "repeated": True})
    async with asyncio.timeout(2):
        answers = await asyncio.gather(*(leases.lease("default", one) for one in (request, back, back, back)))
    assert answers == [LeaseReply()] * 4
    await leases.close()
