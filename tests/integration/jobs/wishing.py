"""Writes through a ledger directly, as the parts of the service do, without a bus."""

import secrets
from datetime import timedelta
from typing import Any

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Actor, worker
from jobplane.contracts.commands import AnyJobCommand, CreateJob, EditJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import ErrorFact
from jobplane.jobs import bodies
from jobplane.jobs.decider import AnyCommand, FailJob, LeaseJob
from jobplane.jobs.job import Job
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.wishes import Cause, Delivered, Settled, Wish
from tests.integration.jobs.driving import ADMIN, KIND


def command_terms(verb: str) -> dict[str, Any]:
    """What a wish has that came as a command just now."""
    return {
        "command_id": new_id(),
        "verb": verb,
        "expires_at": clock.now() + timedelta(hours=1),
        "body_digest": "a" * 64,
    }


def command(wanted: AnyJobCommand, *, actor: Actor = ADMIN, reason: str | None = None, **more: Any) -> Wish:
    """A wish that came as a command."""
    told = command_terms(wanted.type)
    wish = Wish(wanted, Cause(actor, new_id(), reason=reason), delivered=Delivered(**(told | more)))
    if isinstance(wanted, CreateJob | EditJob) and wanted.payload:
        wish.body = bodies.seal(wish.event_id, wanted.payload)
    return wish


def creation(queue: str = "default", **more: Any) -> CreateJob:
    """A job to create."""
    return CreateJob(**({"job_id": new_id(), "kind": KIND, "queue": queue} | more))


def by_worker(wanted: AnyCommand, name: str = "worker-1") -> Wish:
    """A wish of a worker."""
    return Wish(wanted, Cause(worker(name), new_id()))


async def settle(ledger: Ledger, *wishes: Wish) -> list[Settled]:
    """Settle in one transaction."""
    return await ledger.settle(wishes)


async def create(ledger: Ledger, **more: Any) -> Job:
    """Create one job."""
    [settled] = await ledger.settle([command(creation(**more))])
    assert settled.held is not None, settled.decision
    return settled.held.job


async def start(ledger: Ledger, job_id: JobId, *, lease_ms: int = 1000, name: str = "worker-1") -> Job:
    """Give one job to a worker."""
    [settled] = await ledger.settle([by_worker(LeaseJob(job_id, name, secrets.token_hex(16), lease_ms), name)])
    assert settled.event is not None, settled.decision
    assert settled.held is not None
    return settled.held.job


async def failed(ledger: Ledger, **more: Any) -> Job:
    """A job that has failed."""
    created = await create(ledger, max_attempts=1, **more)
    running = await start(ledger, created.id)
    error = ErrorFact(type="ValueError", fingerprint="f" * 16)
    [settled] = await ledger.settle([by_worker(FailJob(created.id, running.token or "", error))])
    assert settled.held is not None
    return settled.held.job
