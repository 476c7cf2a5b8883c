"""Keeps leases alive, and hears which runs must stop: from the answers to beats, and at once by signal."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from jobplane.contracts.ids import JobId
from jobplane.contracts.subjects import JOBS_BEAT
from jobplane.contracts.workers import Beat, BeatReply, Signal
from jobplane.worker.link import Interrupted, Link, NoAnswer
from jobplane.worker.pauses import Pauses
from jobplane.worker.runs import Run, Runs, as_running
from jobplane.worker.stops import Stop

BEATS_PER_LEASE: Final = 3
_TIMEOUT_S: Final = 3.0
log = structlog.get_logger(__name__)


class Beats:
    """One beat tells everything that is held, so that nothing is missed twice."""

    def __init__(self, link: Link, worker: str, runs: Runs) -> None:
        self._link = link
        self._worker = worker
        self._runs = runs
        self.answered = False
        """Whether the latest beat was answered: then the platform knows what runs here."""
        self.on_change: Callable[[], None] | None = None
        """Called when `answered` changes."""

    async def run_once(self) -> None:
        """Send a beat of what is held (also of nothing) until one is answered; do what the answer says."""
        pauses = Pauses()
        while True:
            held = self._runs.mentioned()
            try:
                reply = await self._beat(held)
            except Interrupted:
                continue
            except NoAnswer as error:
                log.info("worker.beat_unanswered", detail=str(error))
            else:
                if reply.error is None:
                    self._set_answered(to=True)
                    self._obey(held, reply.cancel, Stop.CANCELLED)
                    self._obey(held, reply.lost, Stop.LOST)
                    return
                log.warning("worker.beat_refused", error=reply.error)
            self._set_answered(to=False)
            await pauses.pause()

    async def on_signal(self, message: Msg) -> None:
        """A run must stop at once."""
        try:
            signal = Signal.model_validate_json(message.data)
        except ValidationError as error:
            log.warning("worker.signal_unreadable", problems=error.error_count())
            return
        self._runs.stop(signal.job, Stop(signal.cause), token=signal.token)

    async def _beat(self, held: Mapping[JobId, Run]) -> BeatReply:
        beat = Beat(worker=self._worker, running=as_running(held.values()))
        answer = await self._link.ask(JOBS_BEAT, beat.model_dump_json(exclude_none=True).encode(), _TIMEOUT_S)
        try:
            return BeatReply.model_validate_json(answer)
        except ValidationError as error:
            raise NoAnswer(f"unreadable answer: {error.error_count()} problems") from None

    def _set_answered(self, *, to: bool) -> None:
        changed, self.answered = self.answered is not to, to
        if changed and self.on_change is not None:
            self.on_change()

    def _obey(self, held: Mapping[JobId, Run], jobs: Iterable[JobId], cause: Stop) -> None:
        """Jobs are named by id: what was leased anew after the beat went out is not meant."""
        for job in jobs:
            run = held.get(job)
            if run is not None:
                self._runs.stop(job, cause, token=run.job.token)
