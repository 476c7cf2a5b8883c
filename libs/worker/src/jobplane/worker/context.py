"""What a handler knows of its run, and how it tells how far it is."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import LeasedJob
from jobplane.worker.errors import Cancelled
from jobplane.worker.stops import Stop
from jobplane.worker.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")


class Context:
    """One run of one job; safe to use from threads, except `in_thread`."""

    def __init__(self, job: LeasedJob, threads: Threads) -> None:
        self._job = job
        self._threads = threads
        self._stop: Stop | None = None
        self._progress: float | None = None
        self._calls: set[Future[Any]] = set()

    @property
    def job(self) -> JobId:
        """The job's id."""
        return self._job.job

    @property
    def kind(self) -> str:
        """What is to be done."""
        return self._job.kind

    @property
    def run(self) -> int:
        """Number of this run; never resets. With `job`, a key for work that must not be done twice."""
        return self._job.run

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1; starts over when an admin retries the job."""
        return self._job.attempt

    @property
    def max_attempts(self) -> int:
        """After so many failed attempts the job is failed for good."""
        return self._job.max_attempts

    @property
    def asset(self) -> str | None:
        """Id of the uploaded file that the job works on."""
        return self._job.asset

    @property
    def tags(self) -> list[str]:
        """The job's tags."""
        return self._job.tags

    @property
    def deadline(self) -> datetime | None:
        """When the platform fails this run with ``timeout``; none without a time limit."""
        return self._job.deadline

    @cached_property
    def log(self) -> FilteringBoundLogger:
        """A logger that names the job in every line; never give it the payload."""
        bound: FilteringBoundLogger = structlog.get_logger("jobplane.worker").bind(
            job_id=self.job, kind=self.kind, run=self.run, attempt=self.attempt
        )
        return bound

    @property
    def cancelled(self) -> bool:
        """Whether the run must stop: an admin cancelled it, it took too long, its lease is lost, or the worker ends."""
        return self._stop is not None

    def raise_if_cancelled(self) -> None:
        """Call it where the handler may stop.

        Raises:
            Cancelled: the run must stop.
        """
        if self._stop is not None:
            raise Cancelled(f"the run must stop: {self._stop}")

    def progress(self, fraction: float) -> None:
        """How far the run is, 0 to 1 (cut to that); told with the next beat, so calling it often costs nothing."""
        self._progress = min(1.0, max(0.0, fraction))

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking or computing work of an async handler in one of the worker's threads.

        A cancelled handler stops waiting at once. A function that waits for its thread is then never called; one that
        runs goes on unless it looks at `cancelled`, and the job counts as cancelled when it has ended.
        """
        call = self._threads.submit(function, *args, **kwargs)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.wrap_future(call)

    async def _calls_ended(self) -> None:
        """Wait for the functions that still run in threads."""
        await asyncio.gather(*map(asyncio.wrap_future, tuple(self._calls)), return_exceptions=True)
