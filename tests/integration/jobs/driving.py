"""Drives the jobs service over the bus, as the gateway and as workers do."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel

from jobplane.chassis import clock, queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.commands import AnyCommand, CancelJob, CreateJob
from jobplane.contracts.envelope import REPLY_TO, TRACEPARENT, CommandMessage, CommandOutcome
from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.jobs import History, JobPage, JobView
from jobplane.contracts.queries import ListJobs, OneJob, OneJobHistory
from jobplane.contracts.subjects import job_command, lease
from jobplane.contracts.workers import (
    Beat,
    BeatReply,
    DoneItem,
    DoneReply,
    DoneReport,
    LeasedJob,
    LeaseReply,
    LeaseRequest,
    RunningJob,
)
from tests.integration.jobs.truth import change

ADMIN = Actor(id="019a0000-0000-7000-8000-00000000000a", kind=ActorKind.USER, role=Role.ADMIN)
KIND = "test.echo"
Reply = TypeVar("Reply", bound=BaseModel)


def message(command: AnyCommand, **more: Any) -> CommandMessage:
    """A command of an admin."""
    told: dict[str, Any] = {
        "command_id": CommandId(new_id()),
        "actor": ADMIN,
        "correlation_id": new_id(),
        "expires_at": clock.now() + timedelta(hours=1),
        "command": command,
    }
    return CommandMessage(**(told | more))


async def publish(gateway: Connection, wanted: CommandMessage, inbox: str) -> None:
    """Send a command without waiting for its outcome."""
    headers = {REPLY_TO: inbox, TRACEPARENT: f"00-{'ab' * 16}-{'cd' * 8}-01"}
    subject = job_command("gateway", wanted.command.type)
    await gateway.publish(subject, wanted.model_dump_json().encode(), headers=headers)


async def send(gateway: Connection, *wanted: CommandMessage) -> list[CommandOutcome]:
    """Publish commands one right after the other and wait for their outcomes."""
    inboxes = [gateway.new_inbox() for _ in wanted]
    subscriptions = [await gateway.subscribe(inbox) for inbox in inboxes]
    for one, inbox in zip(wanted, inboxes, strict=True):
        await publish(gateway, one, inbox)
    answers = [await subscription.next_msg(timeout=10) for subscription in subscriptions]
    for subscription in subscriptions:
        await subscription.unsubscribe()
    return [CommandOutcome.model_validate_json(answer.data) for answer in answers]


def done(job: LeasedJob, outcome: str = "completed", **more: Any) -> DoneItem:
    """The report of one leased job."""
    told: dict[str, Any] = {"job": job.job, "token": job.token, "outcome": outcome}
    return DoneItem(**(told | more))


def failed(job: LeasedJob, **more: Any) -> DoneItem:
    """The report of a failure."""
    return done(job, "failed", error={"type": "ValueError", "message": "no", **more})


def job_of(outcome: CommandOutcome) -> JobView:
    """The job in an outcome."""
    assert outcome.job is not None, outcome
    return outcome.job


@dataclass(frozen=True)
class Driver:
    """The gateway and the workers of one queue."""

    gateway: Connection
    worker: Connection
    queue: str
    owner_url: str
    name: str = "worker-1"

    async def do(self, command: AnyCommand, **more: Any) -> CommandOutcome:
        """Send one command and wait for its outcome."""
        return (await send(self.gateway, message(command, **more)))[0]

    def creation(self, **more: Any) -> CreateJob:
        """A job to create in this queue."""
        return CreateJob(**({"job_id": new_id(), "kind": KIND, "queue": self.queue} | more))

    async def create(self, **more: Any) -> JobView:
        """Create a job."""
        return job_of(await self.do(self.creation(**more)))

    async def create_many(self, count: int, **more: Any) -> list[JobView]:
        """Create jobs, in this order."""
        wanted = [message(self.creation(**more)) for _ in range(count)]
        return [job_of(outcome) for outcome in await send(self.gateway, *wanted)]

    async def ask(self, subject: str, request: BaseModel, reply: type[Reply]) -> Reply:
        """Ask as a worker."""
        answer = await self.worker.request(subject, request.model_dump_json().encode(), timeout=10)
        return reply.model_validate_json(answer.data)

    async def lease(self, **more: Any) -> list[LeasedJob]:
        """Ask for jobs."""
        told: dict[str, Any] = {
            "request_id": new_id(),
            "worker": self.name,
            "kinds": [KIND],
            "max": 10,
            "wait_ms": 3000,
        }
        reply = await self.ask(lease(self.queue), LeaseRequest(**(told | more)), LeaseReply)
        assert reply.error is None, reply
        return reply.jobs

    async def report(self, *items: DoneItem) -> list[str]:
        """Report how runs ended; gives what became of each."""
        reply = await self.ask("jobs.done", DoneReport(worker=self.name, items=list(items)), DoneReply)
        assert reply.error is None, reply
        return [answer.status for answer in reply.answers]

    async def beat(self, *running: LeasedJob, name: str | None = None, progress: float | None = None) -> BeatReply:
        """Send a beat that mentions these runs."""
        mentioned = [RunningJob(job=job.job, token=job.token, progress=progress) for job in running]
        return await self.ask("jobs.beat", Beat(worker=name or self.name, running=mentioned), BeatReply)

    async def job(self, job_id: str) -> JobView:
        """The job as it is now."""
        return await queries.ask(self.gateway, "jobs", "detail", OneJob(job_id=JobId(job_id)), JobView)

    async def page(self, **asked: Any) -> JobPage:
        """A list of jobs."""
        return await queries.ask(self.gateway, "jobs", "list", ListJobs(**asked), JobPage)

    async def history(self, job_id: str, **asked: Any) -> History:
        """The events of a job."""
        return await queries.ask(self.gateway, "jobs", "history", OneJobHistory(job_id=JobId(job_id), **asked), History)

    async def events(self, job_id: str) -> list[str]:
        """The types of a job's events, oldest first."""
        return [item.type for item in (await self.history(job_id)).items]

    async def pending(self, **more: Any) -> str:
        """A job that waits."""
        return (await self.create(**more)).id

    async def running(self, **more: Any) -> str:
        """A job that runs."""
        job = await self.create(priority=1000, **more)
        [leased] = await self.lease(max=1)
        assert leased.job == job.id
        return job.id

    async def ended(self, outcome: str) -> str:
        """A job that is completed, failed or cancelled."""
        if outcome == "cancelled":
            job = await self.create()
            await self.do(CancelJob(job_id=JobId(job.id)))
            return job.id
        job = await self.create(priority=1000, max_attempts=1)
        [leased] = await self.lease(max=1)
        await self.report(failed(leased) if outcome == "failed" else done(leased))
        return job.id

    def lapse(self, job_id: str, column: str = "lease_until", *, seconds: float = 3600) -> None:
        """Let time pass for one job by moving an instant of its row into the past."""
        statement = f"UPDATE job SET {column} = {column} - %s * interval '1 s' WHERE id = %s"
        assert change(self.owner_url, statement, (seconds, job_id)) == 1
