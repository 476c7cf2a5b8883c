"""Events as the journals write them, and a relay that puts them on a real bus in order."""

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from nats.aio.client import Client
from pydantic import BaseModel

from jobplane.chassis import bus, streams
from jobplane.chassis.ids import new_id
from jobplane.contracts import subjects
from jobplane.contracts.actors import Actor, ActorKind, Role, worker
from jobplane.contracts.admin_events import AdminEvent, LoginSucceeded
from jobplane.contracts.envelope import EventRecord, event_headers
from jobplane.contracts.ids import EventId
from jobplane.contracts.job_events import (
    CommandRefused,
    ErrorFact,
    JobCompleted,
    JobCreated,
    JobEvent,
    JobFailed,
    JobStarted,
)
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.topology import EVT_ADMIN, STREAMS
from tests.support.servers import Bus

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
ADMIN = Actor(id="019aa000-0000-7000-8000-0000000000a1", kind=ActorKind.USER, role=Role.ADMIN)
_SOURCES = {EVT_ADMIN: "jobplane/gateway"}
_serial = itertools.count(1)
_SECOND = timedelta(seconds=1)


def record(  # noqa: PLR0913 - what an envelope may say
    position: int,
    body: JobEvent | AdminEvent | CommandRefused,
    *,
    stream_id: str | None = None,
    version: int = 1,
    at: datetime = NOON,
    actor: Actor = ADMIN,
    command_id: str | None = None,
    correlation_id: str | None = None,
    reason: str | None = None,
) -> EventRecord:
    """An event as a journal keeps it."""
    assert isinstance(body, BaseModel)
    return EventRecord(
        position=position,
        stream_id=stream_id or new_id(),
        version=version,
        type=body.TYPE,
        id=EventId(new_id()),
        command_id=command_id,
        actor=actor,
        reason=reason,
        correlation_id=correlation_id or new_id(),
        causation_id=None,
        traceparent=f"00-{next(_serial):032x}-b7ad6b7169203331-01",
        at=at,
        data=body.model_dump_json().encode(),
    )


def lifecycle(
    first: int, *, at: datetime = NOON, queue: str = "default", kind: str = "image.thumbnail", failed: bool = False
) -> list[EventRecord]:
    """A job created, started and completed (or failed), one second each, at positions `first` to `first + 2`."""
    job, correlation, who = new_id(), new_id(), worker("worker-1")
    routed = {"queue": queue, "kind": kind}
    run = {**routed, "run": 1, "attempt": 1, "worker": who.id}
    running = JobStatus.RUNNING
    bodies: list[tuple[JobEvent, Actor]] = [
        (
            JobCreated.model_validate(
                {**routed, "before": None, "after": "PENDING", "priority": 0, "run_at": at, "max_attempts": 5}
            ),
            ADMIN,
        ),
        (JobStarted.model_validate({**run, "before": "PENDING", "after": "RUNNING", "lease_ms": 30_000}), who),
        (
            JobFailed.model_validate(
                {**run, "before": running, "after": "FAILED", "error": ErrorFact(type="OSError", fingerprint="0" * 16)}
            )
            if failed
            else JobCompleted.model_validate({**run, "before": running, "after": "COMPLETED"}),
            who,
        ),
    ]
    return [
        record(
            first + step,
            body,
            stream_id=job,
            version=step + 1,
            at=at + timedelta(seconds=step),
            actor=actor,
            correlation_id=correlation,
            command_id=new_id() if step == 0 else None,
        )
        for step, (body, actor) in enumerate(bodies)
    ]


def lifecycles(count: int, *, first: int = 1, at: datetime = NOON) -> list[EventRecord]:
    """Whole jobs one after the other, three events each; every fifth fails."""
    return [event for n in range(count) for event in lifecycle(first + 3 * n, at=at + n * _SECOND, failed=n % 5 == 4)]


def login(position: int, *, at: datetime = NOON, actor: Actor = ADMIN) -> EventRecord:
    """Somebody logged in."""
    return record(position, LoginSucceeded(credential="session"), stream_id=actor.id, at=at, actor=actor)


async def ensure_streams(server: Bus) -> None:
    """Create every stream, as the owners would."""
    nc = await bus.connect(server.url("topology"), user="topology", name="test topology")
    await streams.ensure(nc, "jobs")
    for spec in STREAMS:
        await streams.create(nc, spec)
    await bus.close(nc)


async def publish(nc: Client, stream: str, events: Iterable[EventRecord]) -> None:
    """Publish in order with the documented headers; each is stored when this returns."""
    for event in events:
        await send(
            nc, subject_of(stream, event), event_headers(event, _SOURCES.get(stream, "jobplane/jobs")), event.data
        )


async def send(nc: Client, subject: str, headers: dict[str, str], data: bytes) -> None:
    """Publish one message, whatever it is, and wait until it is stored."""
    answer = await nc.request(subject, data, headers=headers, timeout=5)
    assert b'"error"' not in answer.data, answer.data


def subject_of(stream: str, event: EventRecord) -> str:
    """Where the relay would publish it."""
    return (
        subjects.admin_event(event.type)
        if stream == EVT_ADMIN
        else subjects.job_event(event.stream_id, "default", event.type)
    )


def split(events: Sequence[EventRecord], sizes: Iterable[int]) -> list[Sequence[EventRecord]]:
    """The events in batches of these sizes, the rest as the last one."""
    batches: list[Sequence[EventRecord]] = []
    begin = 0
    for size in sizes:
        batches.append(events[begin : begin + size])
        begin += size
    return [batch for batch in (*batches, events[begin:]) if batch]
