"""Tells the life of one job as given, when, then: commands go through `decide`, their events through `evolve`."""

from datetime import UTC, datetime, timedelta
from typing import Any, Self

from jobplane.contracts.commands import CancelJob, CreateJob, EditJob, ForceRunJob, RestoreJob, RetryJob
from jobplane.contracts.ids import BodyRef, JobId
from jobplane.contracts.job_events import AnyJobEvent, Body, ErrorFact, JobEvent
from jobplane.jobs.decider import (
    Accepted,
    AlreadyThere,
    AnyCommand,
    ArchiveJob,
    CompleteJob,
    Context,
    Decision,
    ExpireLease,
    FailJob,
    LeaseJob,
    LeaseLost,
    Nothing,
    Rejected,
    ReleaseJob,
    SettleStop,
    StopReported,
    TimeoutJob,
    decide,
)
from jobplane.jobs.job import Job, Meta, evolve, fold

JOB = JobId("019aa000-0000-7000-8000-000000000001")
OTHER = JobId("019aa000-0000-7000-8000-000000000002")
T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


PAYLOAD = Body(ref=BodyRef("019aa000-0000-7000-8000-00000000000a"), digest="a" * 64)
RESULT = Body(ref=BodyRef("019aa000-0000-7000-8000-00000000000b"), digest="b" * 64)
ERROR = Body(ref=BodyRef("019aa000-0000-7000-8000-00000000000c"), digest="c" * 64)
BROKEN = ErrorFact(type="OSError", fingerprint="f" * 16, body=ERROR)


def create(**fields: Any) -> CreateJob:
    return CreateJob(**{"job_id": JOB, "kind": "image.thumbnail", "queue": "images", **fields})


def lease(token: str = "first", worker: str = "worker-1") -> LeaseJob:
    return LeaseJob(JOB, worker, token, 30_000)


def release(token: str = "first") -> ReleaseJob:
    return ReleaseJob(JOB, token, "drained")


def complete(token: str = "first", result: Body | None = None) -> CompleteJob:
    return CompleteJob(JOB, token, result)


def fail(token: str = "first", *, retryable: bool = True) -> FailJob:
    return FailJob(JOB, token, BROKEN, retryable)


def stopped(token: str = "first", heard_at: datetime | None = None) -> StopReported:
    return StopReported(JOB, token, "cancelled", heard_at)


def retry() -> RetryJob:
    return RetryJob(job_id=JOB)


def cancel() -> CancelJob:
    return CancelJob(job_id=JOB)


def force_run() -> ForceRunJob:
    return ForceRunJob(job_id=JOB)


def restore() -> RestoreJob:
    return RestoreJob(job_id=JOB)


def edit(**fields: Any) -> EditJob:
    return EditJob(job_id=JOB, **fields)


def archive(**kept: float) -> ArchiveJob:
    return ArchiveJob(JOB, timedelta(**kept))


def time_out() -> TimeoutJob:
    return TimeoutJob(JOB)


def expire(ends_at: datetime = T0) -> ExpireLease:
    return ExpireLease(JOB, ends_at)


def settle_stop() -> SettleStop:
    return SettleStop(JOB)


class Story:
    """One job's life; every step checks that folding its history gives the same job."""

    def __init__(self) -> None:
        self.now = T0
        self.state: Job | None = None
        self.history: list[tuple[AnyJobEvent, Meta]] = []
        self.decision: Decision = Nothing()

    @property
    def job(self) -> Job:
        assert self.state is not None
        return self.state

    def given(self, *commands: AnyCommand) -> Self:
        for command in commands:
            self.when(command)
            assert isinstance(self.decision, Accepted), self.decision
        return self

    def after(self, **duration: float) -> Self:
        self.now += timedelta(**duration)
        return self

    def when(self, command: AnyCommand, **context: Any) -> Self:
        self.decision = decide(command, self.state, Context(now=self.now, **context))
        if isinstance(self.decision, Accepted):
            for event in self.decision.events:
                self._record(event, self.decision.token)
        return self

    def _record(self, event: AnyJobEvent, token: str | None) -> None:
        meta = Meta(JOB, len(self.history) + 1, self.now, TRACE, token)
        assert event.before == (self.state.status if self.state else None)
        self.state = evolve(self.state, event, meta)
        assert event.after == self.state.status
        self.history.append((event, meta))
        assert fold(self.history) == self.state

    def then(self, event: type[JobEvent], **fields: Any) -> Self:
        """Exactly one such event was recorded, and says this."""
        assert isinstance(self.decision, Accepted), self.decision
        (recorded,) = self.decision.events
        assert type(recorded) is event
        assert {name: getattr(recorded, name) for name in fields} == fields
        return self

    def then_job(self, **fields: Any) -> Self:
        assert {name: getattr(self.job, name) for name in fields} == fields
        return self

    def then_refused(self, code: str, **facts: Any) -> Self:
        assert isinstance(self.decision, Rejected), self.decision
        assert self.decision.code == code
        assert self.decision.facts == facts
        assert self.decision.detail.endswith(".")
        return self

    def then_existing(self, job_id: JobId) -> Self:
        assert self.decision == AlreadyThere(job_id)
        return self

    def then_nothing(self) -> Self:
        assert self.decision == Nothing()
        return self

    def then_lease_lost(self) -> Self:
        assert self.decision == LeaseLost()
        return self


def given(*commands: AnyCommand) -> Story:
    return Story().given(*commands)
