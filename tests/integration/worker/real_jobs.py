"""The real jobs service in this process, seen from the gateway."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from pydantic import JsonValue

from jobplane.chassis import bus as buses
from jobplane.chassis import clock, queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.commands import AnyJobCommand, CancelJob, CreateJob
from jobplane.contracts.envelope import REPLY_TO, CommandMessage, CommandOutcome
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.jobs import JobStatus, JobView, Stats
from jobplane.contracts.queries import Nothing, OneJob
from jobplane.contracts.subjects import job_command
from jobplane.jobs.__main__ import serve
from jobplane.jobs.settings import Settings
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually

ADMIN = Actor(id="019a0000-0000-7000-8000-00000000000a", kind=ActorKind.USER, role=Role.ADMIN)


class RealJobs:
    """What the gateway does: commands and queries."""

    def __init__(self, gateway: Connection) -> None:
        self._gateway = gateway

    async def add(self, kind: str, payload: dict[str, JsonValue] | None = None, **more: Any) -> JobId:
        """Create a job."""
        job = JobId(new_id())
        await self._send(CreateJob(job_id=job, kind=kind, payload=payload or {}, **more))
        return job

    async def cancel(self, job: JobId) -> None:
        """Cancel it."""
        await self._send(CancelJob(job_id=job))

    async def job(self, job: JobId) -> JobView:
        """How it is now."""
        return await queries.ask(self._gateway, "jobs", "detail", OneJob(job_id=job), JobView)

    async def becomes(self, job: JobId, status: JobStatus) -> JobView:
        """The job, as soon as it has that status."""
        return await self.when(job, lambda seen: seen.status is status)

    async def when(self, job: JobId, so: Callable[[JobView], bool]) -> JobView:
        """The job, as soon as it is so."""
        seen: list[JobView] = []

        async def look() -> bool:
            try:
                seen.append(await self.job(job))
            except Unavailable:  # a fault that the test made
                return False
            return so(seen[-1])

        waiting: Callable[[], bool | Awaitable[bool]] = look
        await eventually(waiting, timeout=10)
        return seen[-1]

    async def _send(self, command: AnyJobCommand) -> CommandOutcome:
        inbox = self._gateway.new_inbox()
        answers = await self._gateway.subscribe(inbox, max_msgs=1)
        message = CommandMessage(
            command_id=CommandId(new_id()),
            actor=ADMIN,
            correlation_id=new_id(),
            expires_at=clock.now() + timedelta(hours=1),
            command=command,
        )
        subject = job_command("gateway", command.type)
        await self._gateway.publish(subject, message.model_dump_json().encode(), headers={REPLY_TO: inbox})
        outcome = CommandOutcome.model_validate_json((await answers.next_msg(timeout=5)).data)
        assert outcome.status == "done", outcome
        return outcome


@asynccontextmanager
async def real_jobs(bus: Bus, database: Database) -> AsyncIterator[RealJobs]:
    """The service while the block lasts."""
    told: dict[str, Any] = {
        "instance": "jobs-1",
        "nats_url": bus.url("jobs"),
        "intake_nats_url": bus.url("jobs-intake"),
        "relay_nats_url": bus.url("jobs-relay"),
        "topology_nats_url": bus.url("topology"),
        "database_url": database.url("jobs"),
    }
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(Settings(**told), stop))
    gateway = await buses.connect(bus.url("gateway"), user="gateway", name="test gateway")

    async def answers() -> bool:
        if serving.done():
            serving.result()
        try:
            return (await queries.ask(gateway, "jobs", "stats", Nothing(), Stats, timeout_s=0.3)).position >= 0
        except Unavailable:
            return False

    waiting: Callable[[], bool | Awaitable[bool]] = answers
    await eventually(waiting, timeout=10)
    try:
        yield RealJobs(gateway)
    finally:
        stop.set()
        await asyncio.wait_for(serving, 10)
        await buses.close(gateway)
