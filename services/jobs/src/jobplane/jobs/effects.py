"""What follows a commit: workers that wait are woken, workers whose run was ended from outside are told."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Final

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from jobplane.contracts import subjects
from jobplane.contracts.job_events import JobCancelled, JobFailed, JobOrphaned
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.workers import Signal
from jobplane.jobs.chunks import Carried
from jobplane.jobs.rows import ready
from jobplane.jobs.wishes import Settled

log = structlog.get_logger()

_GATHER_S: Final = 0.02
"""Announcements to other replicas of one queue are gathered for so long: they look by themselves too."""


class Effects:
    """Announces ready jobs here at once, on the bus a moment later; tells workers what to stop."""

    def __init__(self, nc: Client, instance: str, wake_here: Callable[[str], None]) -> None:
        self._nc = nc
        self._instance = instance.encode()
        self._wake_here = wake_here
        self._to_announce: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def after_commit(self, settled: Sequence[Settled]) -> None:
        """Look at what was settled; waits for nothing."""
        for queue in {
            s.held.job.queue for s in settled if s.event is not None and s.held is not None and ready(s.held.job, s.at)
        }:
            self.wake(queue)
        signals = [signal for signal in map(_signal, settled) if signal is not None]
        if signals:
            self._spawn(self._send(signals))

    def after_chunk(self, carried: Carried) -> None:
        """Look at a chunk of a bulk operation; waits for nothing."""
        for queue in carried.queues:
            self.wake(queue)
        if carried.stopped:
            self._spawn(self._send(carried.stopped))

    def wake(self, queue: str) -> None:
        """A queue has jobs that may run now."""
        self._wake_here(queue)
        if not self._to_announce:
            asyncio.get_running_loop().call_later(_GATHER_S, lambda: self._spawn(self._announce()))
        self._to_announce.add(queue)

    async def hear(self, message: Msg) -> None:
        """Another replica announces a queue."""
        if message.data != self._instance:
            self._wake_here(message.subject.rsplit(".", 1)[1])

    async def _announce(self) -> None:
        queues, self._to_announce = self._to_announce, set()
        await self._publish([(subjects.wake(queue), self._instance) for queue in queues])

    async def _send(self, signals: Sequence[tuple[str, Signal]]) -> None:
        await self._publish(
            [(subjects.signal(worker), signal.model_dump_json().encode()) for worker, signal in signals]
        )

    async def _publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Only hints: the next beat or look tells the same."""
        try:
            for subject, data in messages:
                await self._nc.publish(subject, data)
        except NatsError as error:
            log.debug("effects.not_sent", error=type(error).__name__)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def waiting(settled: Settled) -> timedelta | None:
    """How long the job waits that was just told to, if it was."""
    held = settled.held
    if settled.event is None or held is None or held.job.status is not JobStatus.PENDING or ready(held.job, settled.at):
        return None
    return held.job.run_at - settled.at


def _signal(settled: Settled) -> tuple[str, Signal] | None:
    """Worker and signal, if a run was ended from outside."""
    event, held, wish = settled.event, settled.held, settled.wish
    match event:
        case JobCancelled(worker=str(worker)) if held is not None and held.job.stop_token is not None:
            return worker, Signal(job=held.job.id, token=held.job.stop_token, cause="cancelled")
        case JobFailed(worker=worker) | JobOrphaned(worker=worker) if held is not None and wish.fences is not None:
            timed_out = isinstance(event, JobFailed)
            return worker, Signal(job=held.job.id, token=wish.fences, cause="timeout" if timed_out else "lost")
    return None
