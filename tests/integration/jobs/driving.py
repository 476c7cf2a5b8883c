"""Drives the jobs service over the bus, as the gateway and as a worker do."""

from datetime import timedelta
from typing import Any

from jobplane.chassis import clock
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.commands import AnyJobCommand, CreateJob
from jobplane.contracts.envelope import REPLY_TO, TRACEPARENT, CommandMessage, CommandOutcome
from jobplane.contracts.ids import CommandId, JobId
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
)

ADMIN = Actor(id="019a0000-0000-7000-8000-00000000000a", kind=ActorKind.USER, role=Role.ADMIN)


def message(command: AnyJobCommand, **more: Any) -> CommandMessage:
    """A command of an admin."""
    told: dict[str, Any] = {
        "command_id": CommandId(new_id()),
        "actor": ADMIN,
        "correlation_id": new_id(),
        "expires_at": clock.now() + timedelta(hours=1),
        "command": command,
    }
    return CommandMessage(**(told | more))


async def send(gateway: Connection, wanted: CommandMessage, *, issuer: str = "gateway") -> CommandOutcome:
    """Publish a command and wait for its outcome."""
    inbox = gateway.new_inbox()
    subscription = await gateway.subscribe(inbox)
    headers = {REPLY_TO: inbox, TRACEPARENT: f"00-{'ab' * 16}-{'cd' * 8}-01"}
    await gateway.publish(job_command(issuer, wanted.command.type), wanted.model_dump_json().encode(), headers=headers)
    answer = await subscription.next_msg(timeout=5)
    await subscription.unsubscribe()
    return CommandOutcome.model_validate_json(answer.data)


async def create(gateway: Connection, kind: str = "test.echo", **more: Any) -> CommandOutcome:
    """Create a job."""
    return await send(gateway, message(CreateJob(job_id=JobId(new_id()), kind=kind, **more)))


async def ask_lease(
    worker: Connection, name: str = "worker-1", *, queue: str = "default", **more: Any
) -> list[LeasedJob]:
    """Ask for jobs."""
    told: dict[str, Any] = {"request_id": new_id(), "worker": name, "kinds": ["test.echo"], "max": 10, "wait_ms": 3000}
    request = LeaseRequest(**(told | more))
    answer = await worker.request(lease(queue), request.model_dump_json().encode(), timeout=10)
    return LeaseReply.model_validate_json(answer.data).jobs


async def report(worker: Connection, *items: DoneItem, name: str = "worker-1") -> DoneReply:
    """Report how runs ended."""
    told = DoneReport(worker=name, items=list(items))
    answer = await worker.request("jobs.done", told.model_dump_json().encode(), timeout=10)
    return DoneReply.model_validate_json(answer.data)


async def beat(worker: Connection, *running: tuple[str, str], name: str = "worker-1") -> BeatReply:
    """Send a beat that mentions (job, token) pairs."""
    told = Beat(worker=name, running=[{"job": job, "token": token} for job, token in running])
    answer = await worker.request("jobs.beat", told.model_dump_json().encode(), timeout=10)
    return BeatReply.model_validate_json(answer.data)


def done(job: LeasedJob, outcome: str = "completed", **more: Any) -> DoneItem:
    """The report of one leased job."""
    return DoneItem(job=job.job, token=job.token, outcome=outcome, **more)
