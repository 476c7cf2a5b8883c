"""What the machine believes: everything that the service should have, and what each message should come to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tests.machine import jobs
from tests.machine.jobs import Job
from tests.machine.operations import Operation, Operations
from tests.machine.queues import Control, Controls

Outcome = tuple[str, str | None, str | None]
"""Status, code, job."""
REUSED: Outcome = ("refused", "idempotency_key_reused", None)


@dataclass(frozen=True)
class Asked:
    """A command on its way: the verb, and what it says."""

    id: str
    verb: str
    target: str
    """Job or operation; nothing for queues."""
    says: dict[str, Any]
    actor: str
    superadmin: bool
    reason: str | None
    expires_at: datetime
    expected_version: int | None = None
    other_body: bool = False
    """Sent under the key of another command."""

    @property
    def of_job(self) -> bool:
        """Whether it is about a job."""
        return self.verb in {"create", "retry", "cancel", "run", "restore", "edit"}


@dataclass
class Model:
    """The whole service."""

    now: datetime
    jobs: dict[str, Job] = field(default_factory=dict)
    gone: dict[str, Job] = field(default_factory=dict)
    """Archived."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Of commands, by id."""
    others: dict[str, bool] = field(default_factory=dict)
    """Whether it was decided with the other body."""
    failures: Counter[str] = field(default_factory=Counter)
    """How many runs failed, by error."""
    controls: Controls = field(default_factory=Controls)

    def __post_init__(self) -> None:
        self.operations = Operations(self.jobs)

    # Commands.

    def deliver(self, some: Sequence[Asked]) -> list[Outcome]:
        """Decide messages, in this order; what each of them is answered."""
        return [self._deliver(asked) for asked in some]

    def _deliver(self, asked: Asked) -> Outcome:
        earlier = self.outcomes.get(asked.id)
        if earlier is not None:
            return earlier if self.others[asked.id] is asked.other_body else REUSED
        self.others[asked.id] = asked.other_body
        code, job_id = self._decide(asked)
        done = code is None or code == "already_exists"
        outcome = ("done" if done else "refused", code, job_id)
        self.outcomes[asked.id] = outcome
        return outcome

    def _decide(self, asked: Asked) -> tuple[str | None, str | None]:
        job_id = asked.target if asked.of_job else None
        if asked.expires_at <= self.now:
            return "command_expired", job_id
        if asked.verb == "edit" and asked.says.get("payload") is not None and not asked.reason:
            return "reason_required", job_id
        if asked.of_job:
            return self._of_job(asked)
        if asked.verb.endswith("_queue"):
            return self._of_queue(asked), None
        return self._of_operation(asked), None

    def _of_job(self, asked: Asked) -> tuple[str | None, str | None]:
        job = self.jobs.get(asked.target)
        if job is not None and asked.expected_version not in {None, job["version"]}:
            return "version_conflict", asked.target
        if asked.verb == "create":
            return self._create(asked, job)
        if job is None:
            return "job_not_found", asked.target
        code = jobs.refuses(asked.verb, job, self.jobs.values(), asked.says, self.now)
        if code is None:
            jobs.do(asked.verb, job, asked.says, self.now)
        return code, asked.target

    def _create(self, asked: Asked, job: Job | None) -> tuple[str | None, str | None]:
        if job is not None:
            return "job_exists", asked.target
        key = asked.says["unique_key"]
        held = jobs.holder(self.jobs.values(), (asked.says["kind"], key) if key else None)
        if held is not None:
            return "already_exists", held["id"]
        self.jobs[asked.target] = jobs.new(asked.target, self.now, **asked.says)
        return None, asked.target

    def _of_queue(self, asked: Asked) -> str | None:
        says = dict(asked.says)
        key = (says.pop("sort"), says.pop("name"))
        control = self.controls.known.get(key) or Control()
        code = control.ask(asked.verb, self.now, **says)
        if code is None:
            self.controls.known[key] = control
        return code

    def _of_operation(self, asked: Asked) -> str | None:
        known = self.operations
        match asked.verb:
            case "plan_operation" | "undo_operation":
                wanted = Operation(asked.target, actor=asked.actor, reason=asked.reason, **asked.says)
                return known.plan(wanted) if asked.verb == "plan_operation" else known.undo(wanted)
            case "run_operation":
                who = (asked.actor, asked.superadmin)
                return known.run(asked.target, who, asked.reason, asked.says["max_drift"], self.now)
            case "pause_operation":
                return known.pause(asked.target)
            case "resume_operation":
                return known.resume(asked.target)
            case _:
                return known.stop(asked.target)

    # Workers.

    def claim(self, queue: str, kinds: Sequence[str], most: int) -> list[Job]:
        """The jobs that a worker gets; `start` follows for each."""
        return self.controls.next(self.jobs.values(), queue, kinds, most, self.now)

    def start(self, job: Job, worker: str, token: str) -> None:
        """One of them runs."""
        self.controls.started(job)
        jobs.start(job, worker, token, self.now)

    def report(self, job_id: str, token: str, outcome: str, error: str, *, retryable: bool) -> str:
        """What a worker is answered."""
        job = self.jobs.get(job_id)
        before = 0 if job is None else job["version"]
        answer = jobs.report(job, token, outcome, error, retryable=retryable, now=self.now)
        if job is not None and job["version"] > before and job["told"][-1] == "job.failed.v1":
            self.failures[error] += 1
        return answer

    # What the service does by itself.

    def schedule(self) -> None:
        """The scheduler."""
        for job in self.jobs.values():
            job["ready"] = job["ready"] or (job["status"] == "PENDING" and job["run_at"] <= self.now)

    def rescue(self, what: str) -> None:
        """The rescuer, about one sort of what is overdue."""
        for job in self.jobs.values():
            if not jobs.is_due(what, job, self.now):
                continue
            if what == "expired":
                error = jobs.expire(job, self.now)
                if error is not None:
                    self.failures[error] += 1
            elif what == "overdue":
                jobs.fail(job, "timeout", retryable=True, now=self.now)
                job["token"] = None
                self.failures["timeout"] += 1
            else:
                job["stop"] = "unconfirmed"
                jobs.happened(job, "stop_unconfirmed", self.now)

    def archive(self, status: str, kept: Any) -> None:
        """The archiver, about one status."""
        for job in list(self.jobs.values()):
            old = job["status"] == status and job["finished_at"] + kept < self.now
            if old and job["stop"] != "pending":
                jobs.happened(job, "archived", self.now)
                self.gone[job["id"]] = self.jobs.pop(job["id"])
