"""Queues, and kinds in all queues: look at them, pause, resume, drain and limit them."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field
from starlette.responses import Response

from jobplane.contracts.queries import OneKind, OneQueue
from jobplane.contracts.queues import (
    MAX_CONCURRENCY,
    MAX_EVERY_S,
    MAX_STARTS,
    AnyQueueCommand,
    LimitQueue,
    Limits,
    PauseQueue,
    QueueControl,
    QueueList,
    QueueView,
    Rate,
    ResumeQueue,
)
from jobplane.contracts.subjects import KIND_PATTERN, QUEUE_PATTERN
from jobplane.gateway import commands, queue_board
from jobplane.gateway.answers import Reason, ready
from jobplane.gateway.auth import Admin, Caller, Viewer
from jobplane.gateway.bodies import JsonBody, Wish
from jobplane.gateway.commands import AgreedToCreate, Terms
from jobplane.gateway.openapi import Responses, may_fail, shows
from jobplane.gateway.problem_examples import SAME_LIMITS
from jobplane.gateway.routes.control import WhyBody
from jobplane.gateway.verb_examples import KINDS, QUEUES, Example
from jobplane.gateway.views import Accepted, QueueControlled
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin", tags=["queues"])

QueuePath = Annotated[str, Path(pattern=QUEUE_PATTERN, description="The queue's name.", examples=["default"])]
KindPath = Annotated[str, Path(pattern=KIND_PATTERN, description="The kind.", examples=["image.thumbnail"])]


class NewRate(Wish):
    """So many starts in so much time."""

    starts: int = Field(ge=1, le=MAX_STARTS, examples=[10])
    """How many jobs may start …"""
    every_s: int = Field(default=1, ge=1, le=MAX_EVERY_S, examples=[60])
    """… in so many seconds."""
    burst: int = Field(default=1, ge=1, le=MAX_STARTS)
    """How many may start at once after a time of rest."""


class NewLimits(Wish):
    """The limits from now on, in the place of those before; say null for what is to be unlimited."""

    concurrency: int | None = Field(ge=1, le=MAX_CONCURRENCY, examples=[5])
    """At most so many jobs run at once."""
    rate: NewRate | None
    """How fast jobs may start."""
    reason: Reason | None = Field(default=None, examples=["the mail server asks us to slow down"])
    """In your words; kept in the audit log."""


LimitsBody = Annotated[NewLimits, Depends(JsonBody(NewLimits))]

_ACCEPTED: Final = shows(Accepted, 202, "Accepted, not decided yet.", headers=("Location", "Retry-After"))
_ANY_COMMAND: Final = ("idempotency_key_reused", "not_accepted", "journal_diverged", "command_expired")
_PAUSED: Final = _ACCEPTED | may_fail("already_paused", *_ANY_COMMAND)
_RESUMED: Final = _ACCEPTED | may_fail("not_paused", *_ANY_COMMAND)
_LIMITED: Final = _ACCEPTED | may_fail(*_ANY_COMMAND, nothing_to_change=SAME_LIMITS)


def _shows(example: Example) -> Responses:
    return shows(QueueControlled, example=example)


@router.get("/queues", responses=shows(QueueList), summary="List queues")
async def list_queues(request: Request, caller: Viewer) -> Response:  # noqa: ARG001 - declares who may call
    """Every queue that has or had jobs, with depth, age and how it is controlled; and the kinds that are controlled."""
    return ready(await queue_board.everything(gateway_of(request)))


@router.get("/queues/{queue}", responses=shows(QueueView) | may_fail("queue_not_found"), summary="Look at a queue")
async def one_queue(request: Request, caller: Viewer, queue: QueuePath) -> Response:  # noqa: ARG001 - declares who may call
    """How much waits and runs, since when, how fast it goes, who serves it, and how it is controlled."""
    return ready(await queue_board.one(gateway_of(request), OneQueue(queue=queue)))


@router.post("/queues/{queue}/pause", responses=_shows(QUEUES["pause"]) | _PAUSED, summary="Pause a queue")
async def pause_queue(
    request: Request, caller: Admin, queue: QueuePath, agreed: AgreedToCreate, why: WhyBody
) -> Response:
    """Start no more of its jobs, except forced ones; what runs goes on. A queue may be paused before it has jobs."""
    return await _control(request, caller, PauseQueue(queue=queue), why, why.reason, agreed)


@router.post("/queues/{queue}/drain", responses=_shows(QUEUES["drain"]) | _PAUSED, summary="Drain a queue")
async def drain_queue(
    request: Request, caller: Admin, queue: QueuePath, agreed: AgreedToCreate, why: WhyBody
) -> Response:
    """Pause it and let it run empty: its state is `draining` while jobs of it run, then `drained`, until resumed."""
    return await _control(request, caller, PauseQueue(queue=queue, drain=True), why, why.reason, agreed)


@router.post("/queues/{queue}/resume", responses=_shows(QUEUES["resume"]) | _RESUMED, summary="Resume a queue")
async def resume_queue(
    request: Request, caller: Admin, queue: QueuePath, agreed: AgreedToCreate, why: WhyBody
) -> Response:
    """Start its jobs again; its limits stay."""
    return await _control(request, caller, ResumeQueue(queue=queue), why, why.reason, agreed)


@router.put("/queues/{queue}/limits", responses=_shows(QUEUES["limit"]) | _LIMITED, summary="Limit a queue")
async def limit_queue(
    request: Request, caller: Admin, queue: QueuePath, agreed: AgreedToCreate, new: LimitsBody
) -> Response:
    """Let only so many of its jobs run at once, or start in some time; what runs already goes on."""
    return await _control(request, caller, LimitQueue(queue=queue, limits=_limits(new)), new, new.reason, agreed)


@router.get("/kinds/{kind}", responses=shows(QueueControl), summary="See how a kind is controlled")
async def one_kind(request: Request, caller: Viewer, kind: KindPath) -> Response:  # noqa: ARG001 - declares who may call
    """Its pause and its limits, which hold for its jobs in all queues; a kind that nobody controlled is `active`."""
    return ready(await queue_board.kind(gateway_of(request), OneKind(kind=kind)))


@router.post("/kinds/{kind}/pause", responses=_shows(KINDS["pause"]) | _PAUSED, summary="Pause a kind")
async def pause_kind(request: Request, caller: Admin, kind: KindPath, agreed: AgreedToCreate, why: WhyBody) -> Response:
    """Start no more of its jobs in any queue, except forced ones; what runs goes on."""
    return await _control(request, caller, PauseQueue(kind=kind), why, why.reason, agreed)


@router.post("/kinds/{kind}/drain", responses=_shows(KINDS["drain"]) | _PAUSED, summary="Drain a kind")
async def drain_kind(request: Request, caller: Admin, kind: KindPath, agreed: AgreedToCreate, why: WhyBody) -> Response:
    """Pause it and let it run empty: its state is `draining` while jobs of it run, then `drained`, until resumed."""
    return await _control(request, caller, PauseQueue(kind=kind, drain=True), why, why.reason, agreed)


@router.post("/kinds/{kind}/resume", responses=_shows(KINDS["resume"]) | _RESUMED, summary="Resume a kind")
async def resume_kind(
    request: Request, caller: Admin, kind: KindPath, agreed: AgreedToCreate, why: WhyBody
) -> Response:
    """Start its jobs again; its limits stay."""
    return await _control(request, caller, ResumeQueue(kind=kind), why, why.reason, agreed)


@router.put("/kinds/{kind}/limits", responses=_shows(KINDS["limit"]) | _LIMITED, summary="Limit a kind")
async def limit_kind(
    request: Request, caller: Admin, kind: KindPath, agreed: AgreedToCreate, new: LimitsBody
) -> Response:
    """Let only so many of its jobs run at once, or start in some time, in all queues together."""
    return await _control(request, caller, LimitQueue(kind=kind, limits=_limits(new)), new, new.reason, agreed)


async def _control(
    request: Request, caller: Caller, command: AnyQueueCommand, wish: Wish, reason: str | None, agreed: Terms
) -> Response:
    return await commands.answer_directive(request, caller, command, wish, reason, agreed, told_as="queue")


def _limits(new: NewLimits) -> Limits:
    rate = None if new.rate is None else Rate(**new.rate.model_dump())
    return Limits(concurrency=new.concurrency, rate=rate)
