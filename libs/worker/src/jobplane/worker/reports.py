"""Tells how runs ended: in batches of whatever ended while the last report was under way, repeated until answered."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import ValidationError

from jobplane.contracts.ids import JobId
from jobplane.contracts.subjects import JOBS_DONE
from jobplane.contracts.workers import MAX_DONE_BYTES, DoneAnswer, DoneReply, LeasedJob
from jobplane.worker import outcomes
from jobplane.worker.errors import Fatal
from jobplane.worker.link import Interrupted, Link, NoAnswer
from jobplane.worker.pauses import Pauses

MAX_ITEMS: Final = 512
_TIMEOUT_S: Final = 5.0
_ENVELOPE_BYTES: Final = 256
log = structlog.get_logger(__name__)


class ReportRefused(Fatal):
    """The platform could not take the outcome of a run."""


@dataclass(frozen=True, slots=True)
class _Item:
    job: LeasedJob
    text: bytes
    instead: bool = False
    """Whether it already stands for an outcome that was refused."""


class Reports:
    """Outcomes on their way."""

    def __init__(self, link: Link, worker: str) -> None:
        self._link = link
        self._head = b'{"worker":"' + worker.encode() + b'","items":['
        self.on_settled: Callable[[JobId, str], None] = _ignore
        """Told of each run (job, token) whose outcome needs no more telling."""
        self._pending: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def backlog(self) -> int:
        """How many outcomes are not answered yet."""
        return len(self._pending)

    def add(self, job: LeasedJob, text: bytes) -> None:
        """Report this outcome with the next batch."""
        self._pending.append(_Item(job, text))
        self._empty.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Report for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._pending:
                await self._report(self._next_batch())
            self._empty.set()

    async def flushed(self, timeout_s: float) -> bool:
        """Wait until everything is answered, at most that long; whether it is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            log.warning("worker.unreported", outcomes=self.backlog)
            return False
        return True

    def _next_batch(self) -> list[_Item]:
        """The oldest outcomes that fit into one message; they stay in the queue until they are answered."""
        batch: list[_Item] = []
        size = _ENVELOPE_BYTES
        for item in self._pending:
            size += len(item.text) + 1
            if batch and (size > MAX_DONE_BYTES or len(batch) == MAX_ITEMS):
                break
            batch.append(item)
        return batch

    async def _report(self, batch: list[_Item]) -> None:
        """Repeat one report until it is answered; the same report again is safe."""
        message = self._head + b",".join([item.text for item in batch]) + b"]}"
        pauses = Pauses()
        while True:
            try:
                reply = DoneReply.model_validate_json(await self._link.ask(JOBS_DONE, message, _TIMEOUT_S))
            except Interrupted:
                continue
            except (NoAnswer, ValidationError) as error:
                log.warning("worker.report_unanswered", outcomes=len(batch), detail=str(error))
            else:
                if reply.error is None and len(reply.answers) == len(batch):
                    self._answered(batch, reply.answers)
                    return
                if reply.error == "invalid":
                    await self._after_invalid(batch, reply.detail)
                    return
                log.warning("worker.report_refused", error=reply.error, detail=reply.detail)
            await pauses.pause()

    def _answered(self, batch: list[_Item], answers: list[DoneAnswer]) -> None:
        for item, answer in zip(batch, answers, strict=True):
            self._pending.popleft()
            if answer.status == "accepted":
                self.on_settled(item.job.job, item.job.token)
            else:
                self._not_taken(item, answer.status, answer.detail)

    async def _after_invalid(self, batch: list[_Item], detail: str | None) -> None:
        """One outcome spoils the whole report: find it by reporting halves."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._report(batch[:half])
            await self._report(batch[half:])
            return
        self._not_taken(self._pending.popleft(), "invalid", detail)

    def _not_taken(self, item: _Item, status: str, detail: str | None) -> None:
        job = item.job
        log.warning("worker.outcome_not_taken", job_id=job.job, run=job.run, status=status, detail=detail)
        if status == "lease_lost" or item.instead:
            self.on_settled(job.job, job.token)
            return
        refused = outcomes.failed(job, ReportRefused(f"the outcome of this run was refused: {detail or status}"))
        self._pending.append(_Item(job, refused, instead=True))


def _ignore(_job: JobId, _token: str) -> None:
    return
