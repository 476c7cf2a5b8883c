"""What holds for every job whatever happens to it: all commands at random, in any order, at any time."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from pydantic import JsonValue

from jobplane.contracts.job_events import (
    AnyJobEvent,
    JobCancelled,
    JobCompleted,
    JobFailed,
    JobFinishedAnyway,
    JobOrphaned,
    JobReleased,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import FINISHED, JobStatus, StopState
from jobplane.jobs.decider import (
    MAX_ORPHANINGS,
    Accepted,
    CompleteJob,
    Context,
    Decision,
    FailJob,
    LeaseLost,
    Nothing,
    Rejected,
    ReleaseJob,
    StopReported,
    decide,
)
from tests.unit.jobs.story import (
    BROKEN,
    JOB,
    OTHER,
    PAYLOAD,
    T0,
    Story,
    archive,
    cancel,
    complete,
    create,
    edit,
    expire,
    fail,
    force_run,
    lease,
    release,
    restore,
    retry,
    settle_stop,
    stopped,
    time_out,
)

ENDS_A_RUN = (JobReleased, JobCompleted, JobFailed, JobOrphaned, JobCancelled)
SETTLES_A_STOP = (JobStopConfirmed, JobFinishedAnyway, JobStopUnconfirmed)
REPORTS = (JobReleased, JobCompleted, JobFailed, JobStopConfirmed, JobFinishedAnyway)


class LifeOfAJob(RuleBasedStateMachine):
    """`Story` checks at every step that the folded history is the state."""

    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.story = Story()
        self.answers: dict[str, list[Decision]] = {}
        self.leases = 0

    @initialize(
        max_attempts=st.integers(1, 3),
        timeout_ms=st.none() | st.integers(100, 5000),
        delay_s=st.none() | st.integers(-5, 5),
        unique_key=st.none() | st.just("key"),
    )
    def created(self, max_attempts: int, timeout_ms: int | None, delay_s: int | None, unique_key: str | None) -> None:
        run_at = None if delay_s is None else T0 + timedelta(seconds=delay_s)
        self.story.given(create(max_attempts=max_attempts, timeout_ms=timeout_ms, run_at=run_at, unique_key=unique_key))

    @rule(seconds=st.sampled_from((0.05, 1.0, 5.0, 3600.0)))
    def time_passes(self, seconds: float) -> None:
        self.story.after(seconds=seconds)

    @rule(target=tokens)
    def a_worker_asks(self) -> str:
        self.leases += 1
        token = f"token-{self.leases}"
        self.story.when(lease(token, f"worker-{self.leases % 2}"))
        return token if isinstance(self.story.decision, Accepted) else multiple()  # type: ignore[return-value]

    @rule(token=tokens)
    def a_worker_reports_success(self, token: str) -> None:
        self._report(complete(token))

    @rule(token=tokens, retryable=st.booleans(), jitter=st.floats(0, 1))
    def a_worker_reports_failure(self, token: str, retryable: bool, jitter: float) -> None:
        self._report(fail(token, retryable=retryable), jitter)

    @rule(token=tokens)
    def a_worker_gives_back(self, token: str) -> None:
        self._report(release(token))

    @rule(token=tokens, outcome=st.sampled_from(("cancelled", "completed", "failed", "released")))
    def a_worker_reports_a_stop(self, token: str, outcome: str) -> None:
        self._report(StopReported(JOB, token, outcome))  # type: ignore[arg-type]

    @rule()
    def a_stranger_reports(self) -> None:
        for report in (complete(""), fail(""), release(""), stopped("")):
            self.story.when(report).then_lease_lost()

    @rule(jitter=st.floats(0, 1))
    def the_time_limit_is_checked(self, jitter: float) -> None:
        self.story.when(time_out(), jitter=jitter)

    @rule(left_s=st.sampled_from((-1, 0, 1)), jitter=st.floats(0, 1))
    def the_lease_is_checked(self, left_s: int, jitter: float) -> None:
        self.story.when(expire(self.story.now + timedelta(seconds=left_s)), jitter=jitter)
        assert left_s <= 0 or self.story.decision == Nothing()

    @rule()
    def the_stop_is_settled(self) -> None:
        self.story.when(settle_stop())

    @rule(holder=st.sampled_from((None, JOB, OTHER)))
    def an_admin_retries(self, holder: str | None) -> None:
        self.story.when(retry(), holder=holder)

    @rule()
    def an_admin_cancels(self) -> None:
        before = self.story.job
        self.story.when(cancel())
        if before.status is JobStatus.RUNNING:
            self.story.then_job(stop=StopState.PENDING, stop_token=before.token, token=None)

    @rule()
    def an_admin_forces(self) -> None:
        self.story.when(force_run())

    @rule(holder=st.sampled_from((None, JOB, OTHER)))
    def an_admin_restores(self, holder: str | None) -> None:
        before = self.story.job
        self.story.when(restore(), holder=holder)
        if isinstance(self.story.decision, Accepted):
            assert before.stop is not StopState.PENDING
            assert self.story.job.run_at == before.run_at

    @rule(
        priority=st.none() | st.integers(-1, 1),
        queue=st.none() | st.sampled_from(("images", "others")),
        max_attempts=st.none() | st.integers(1, 4),
        delay_s=st.none() | st.integers(-5, 5),
        payload=st.none() | st.sampled_from(({}, {"n": 1})),
    )
    def an_admin_edits(self, delay_s: int | None, payload: dict[str, JsonValue] | None, **fields: Any) -> None:
        run_at = None if delay_s is None else self.story.now + timedelta(seconds=delay_s)
        before = self.story.job
        self.story.when(edit(run_at=run_at, payload=payload, **fields), payload=PAYLOAD if payload else None)
        after = self.story.job
        assert (after.status, after.attempt, after.run) == (before.status, before.attempt, before.run)
        if isinstance(self.story.decision, Accepted):
            assert before.status in {JobStatus.PENDING, JobStatus.FAILED}
            assert replace(after, version=before.version) != before or payload

    @rule()
    def the_archiver_looks(self) -> None:
        story, before = self.story, self.story.job
        decision = decide(archive(days=1), before, Context(now=story.now))
        if isinstance(decision, Accepted):  # its story would be over
            assert before.status in FINISHED
            assert before.stop is not StopState.PENDING

    def _report(self, command: CompleteJob | FailJob | ReleaseJob | StopReported, jitter: float = 0.5) -> None:
        before = self.story.job
        self.story.when(command, jitter=jitter)
        decision = self.story.decision
        assert not isinstance(decision, Rejected)
        if command.token not in {before.token, before.stop_token}:
            assert decision == LeaseLost(), "a fenced token achieves nothing"
        if isinstance(decision, Accepted):
            assert isinstance(decision.events[0], REPORTS)
            before_it = self.answers.get(command.token, [])
            assert not any(isinstance(answer, Accepted) for answer in before_it), "one accepted report per run"
        self.answers.setdefault(command.token, []).append(decision)

    @property
    def events(self) -> list[AnyJobEvent]:
        return [event for event, _ in self.story.history]

    @invariant()
    def attempts_stay_within_their_limits(self) -> None:
        if self.story.state is None:
            return
        job = self.story.job
        assert 0 <= job.attempt <= job.max_attempts
        assert job.attempt <= job.run
        assert 0 <= job.orphanings <= MAX_ORPHANINGS
        assert job.status is not JobStatus.PENDING or job.attempt < job.max_attempts

    @invariant()
    def a_finished_job_says_when(self) -> None:
        if self.story.state is None:
            return
        job = self.story.job
        assert (job.finished_at is not None) == (job.status in FINISHED)
        assert (job.error_type is not None) or job.status is not JobStatus.FAILED
        assert not job.forced or job.status is JobStatus.PENDING

    @invariant()
    def a_running_job_has_a_worker_and_a_token(self) -> None:
        if self.story.state is None:
            return
        job = self.story.job
        assert job.version == len(self.story.history)
        if job.status is JobStatus.RUNNING:
            assert job.token
            assert job.worker
            assert job.started_at
            assert job.lease_ms
        assert (job.stop is None) == (job.stop_token is None)

    @invariant()
    def every_run_starts_once_and_ends_at_most_once(self) -> None:
        starts = [event.run for event in self.events if isinstance(event, JobStarted)]
        assert starts == list(range(1, len(starts) + 1))
        ends = [event.run for event in self.events if isinstance(event, ENDS_A_RUN) and event.run is not None]
        assert ends == sorted(set(ends))
        running = self.story.state is not None and self.story.state.status is JobStatus.RUNNING
        assert len(ends) == len(starts) - running
        stops = [event.run for event in self.events if isinstance(event, SETTLES_A_STOP)]
        unconfirmed = [event.run for event in self.events if isinstance(event, JobStopUnconfirmed)]
        assert all(stops.count(run) <= 1 + (run in unconfirmed) for run in stops), "a late truth is told once"


LifeOfAJob.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLifeOfAJob = LifeOfAJob.TestCase


def test_the_error_of_a_run_is_only_a_reference() -> None:
    assert BROKEN.body is not None
    assert set(type(BROKEN).model_fields) == {"type", "fingerprint", "body"}
