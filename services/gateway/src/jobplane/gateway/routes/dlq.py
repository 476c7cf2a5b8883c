"""Dead letters: what a service could not process. They may hold secrets, so they are for admins only."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from jobplane.contracts.dead_letters import (
    MAX_SEQUENCE,
    PART_PATTERN,
    DeadLetterDetail,
    DeadLetterDiscarded,
    DeadLetterPage,
    DeadLetterReplayed,
    ListDeadLetters,
)
from jobplane.gateway import dead_letters
from jobplane.gateway.answers import Limit, PageCursor, Since, ready
from jobplane.gateway.auth import Admin
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.routes.control import WhyBody
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/dlq", tags=["dead letters"])

Sequence = Annotated[int, Path(ge=1, le=MAX_SEQUENCE, description="Its `seq`.", examples=[17])]


@router.get("", responses=shows(DeadLetterPage) | may_fail("invalid_cursor"), summary="List dead letters")
async def list_dead_letters(
    request: Request,
    caller: Admin,  # noqa: ARG001 - declares who may call
    limit: Limit = 50,
    cursor: PageCursor = None,
    service: Annotated[
        Literal["jobs", "audit", "health"] | None, Query(description="Who could not process it.", examples=["jobs"])
    ] = None,
    what: Annotated[
        str | None, Query(pattern=PART_PATTERN, description="`command`, or a stream.", examples=["command"])
    ] = None,
    since: Since = None,
) -> Response:
    """What services could not process, newest first, without what it says; kept for 30 days.

    An event stays in its journal; its letter only tells who lacks it.
    """
    asked = ListDeadLetters(limit=limit, cursor=cursor, service=service, what=what, since=since)
    return ready(await gateway_of(request).bus.ask_raw("jobs", "dead_letters", asked))


@router.get(
    "/{dead_letter}",
    responses=shows(DeadLetterDetail) | may_fail("dead_letter_not_found"),
    summary="Inspect a dead letter",
)
async def inspect_dead_letter(request: Request, caller: Admin, dead_letter: Sequence) -> Response:
    """One with its headers and what it says, secrets redacted: at most 64 KiB of text, and as JSON if it is JSON.

    The audit log keeps who saw it.
    """
    return ready(await dead_letters.inspect(request, caller, dead_letter))


@router.post(
    "/{dead_letter}/replay",
    responses=shows(DeadLetterReplayed)
    | may_fail("dead_letter_not_found", "not_replayable", "still_unreadable", "replay_failed"),
    summary="Replay a dead letter",
)
async def replay_dead_letter(request: Request, caller: Admin, dead_letter: Sequence, why: WhyBody) -> Response:
    """Have a command decided now, as if it had just come from its sender, or an event read by who could not read it.

    `status` says whether a command was done or refused; an event is read from its journal, and the rows that lack it
    are made. Either leaves the queue then. What still cannot be read, or fails again, stays. Safe to repeat: a command
    is never carried out twice, nor an event counted or recorded twice.
    """
    return ready(await dead_letters.replay(request, caller, dead_letter, why.reason))


@router.post(
    "/{dead_letter}/discard",
    responses=shows(DeadLetterDiscarded) | may_fail("dead_letter_not_found"),
    summary="Discard a dead letter",
)
async def discard_dead_letter(request: Request, caller: Admin, dead_letter: Sequence, why: WhyBody) -> Response:
    """Delete it for good. The audit log keeps that it was there, and why it is gone.

    A command is never done then, and rows that lack an event go on lacking it: replay what can be replayed.
    """
    return ready(await dead_letters.discard(request, caller, dead_letter, why.reason))
