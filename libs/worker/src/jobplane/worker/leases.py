"""Asks for jobs of one queue, again and again, never for more than there is room for."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from jobplane.chassis.ids import new_id
from jobplane.contracts import subjects
from jobplane.contracts.workers import LeasedJob, LeaseReply, LeaseRequest
from jobplane.worker.link import Interrupted, Link, NoAnswer
from jobplane.worker.pauses import Pauses
from jobplane.worker.runs import Runs
from jobplane.worker.slots import Slots

MAX_JOBS: Final = 512
WAIT_MS: Final = 2_000
_GRACE_S: Final = 1.5
_PAUSE_AFTER_INVALID_S: Final = 10.0
_SHORTEST_ROUND_S: Final = 0.05
_UNWOKEN_S: Final = 0.5
log = structlog.get_logger(__name__)


class Leases:
    """One asker of one queue; it never asks for more than half of the capacity, so two of them can take turns."""

    def __init__(
        self,
        queue: str,
        *,
        worker: str,
        kinds: Sequence[str],
        lease_ms: int,
        alone: bool,
        link: Link,
        slots: Slots,
        runs: Runs,
    ) -> None:
        self._subject = subjects.lease(queue)
        self._queue = queue
        self._worker = worker
        self._kinds = list(kinds)
        self._lease_ms = lease_ms
        self._wait_ms = WAIT_MS if alone else 0
        """A long poll keeps slots reserved, so a worker of several queues asks when it hears that there are jobs."""
        self._woken = asyncio.Event()
        self._link = link
        self._slots = slots
        self._runs = runs
        self._asking: LeaseRequest | None = None

    async def run(self) -> None:
        """Ask until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            reserved = await self._slots.ask(min(max(1, self._slots.capacity // 2), MAX_JOBS))
            self._woken.clear()
            jobs: list[LeasedJob] = []
            started = clock()
            try:
                jobs = await self._lease(reserved)
            finally:
                self._slots.answered(reserved)
                self._runs.take(jobs)
            if len(jobs) == reserved:
                self._slots.fetched(clock() - started)
            if jobs:
                continue
            if self._wait_ms == 0:
                await self._wake_or_time()
            elif clock() - started < _SHORTEST_ROUND_S:
                await asyncio.sleep(_SHORTEST_ROUND_S)

    async def on_wake(self, _message: Msg) -> None:
        """The queue has jobs to run."""
        self._woken.set()

    async def withdraw(self, timeout_s: float) -> None:
        """After `run` was cancelled: end a long poll by repeating it without a wait; what it brings is given back."""
        request = self._asking
        if request is None:
            return
        self._asking = None
        repeated = request.model_copy(update={"wait_ms": 0, "repeated": True})
        try:
            reply = await self._ask(repeated, timeout_s)
        except NoAnswer as error:
            log.warning("worker.lease_not_withdrawn", queue=self._queue, detail=str(error))
            return
        self._runs.take(reply.jobs)

    async def _wake_or_time(self) -> None:
        try:
            async with asyncio.timeout(_UNWOKEN_S):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _lease(self, most: int) -> list[LeasedJob]:
        """The answer to one request, which is repeated until there is one."""
        request = self._asking = LeaseRequest(
            request_id=new_id(),
            worker=self._worker,
            kinds=self._kinds,
            max=most,
            wait_ms=self._wait_ms,
            lease_ms=self._lease_ms,
        )
        pauses = Pauses()
        while True:
            try:
                reply = await self._ask(request, self._wait_ms / 1000 + _GRACE_S)
            except Interrupted:
                reply = None
            except NoAnswer as error:
                log.info("worker.lease_unanswered", queue=self._queue, detail=str(error))
                reply = None
                await pauses.pause()
            if reply is not None and reply.error is None:
                self._asking = None
                return reply.jobs
            if reply is not None:
                log.warning("worker.lease_refused", queue=self._queue, error=reply.error, detail=reply.detail)
                await pauses.pause(_PAUSE_AFTER_INVALID_S if reply.error == "invalid" else None)
            request = self._asking = request.model_copy(update={"repeated": True})

    async def _ask(self, request: LeaseRequest, timeout_s: float) -> LeaseReply:
        answer = await self._link.ask(self._subject, request.model_dump_json().encode(), timeout_s)
        try:
            return LeaseReply.model_validate_json(answer)
        except ValidationError as error:
            raise NoAnswer(f"unreadable answer: {error.error_count()} problems") from None
