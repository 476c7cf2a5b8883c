"""Bulk operations: plan, run, watch, pause, stop, undo."""

import asyncio
from http import HTTPStatus
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from jobplane.chassis.ids import new_id
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.errors import Refused
from jobplane.contracts.operations import (
    MAX_RATE,
    AnyOperationCommand,
    ItemOutcome,
    OperationItems,
    OperationPage,
    OperationStatus,
    OperationView,
    PauseOperation,
    PlanOperation,
    ResumeOperation,
    RunOperation,
    StopOperation,
    UndoOperation,
)
from jobplane.contracts.queries import ListItems, ListOperations, OneOperation
from jobplane.gateway import commands, people
from jobplane.gateway.answers import Limit, PageCursor, Reason, ready
from jobplane.gateway.auth import Admin, Caller, Viewer
from jobplane.gateway.bodies import JsonBody, Wish
from jobplane.gateway.bulk_wishes import BulkWish, command_to_plan, command_to_run, filter_in
from jobplane.gateway.commands import AgreedToCreate, Terms
from jobplane.gateway.openapi import Responses, may_fail, shows
from jobplane.gateway.problems import status_of
from jobplane.gateway.routes.control import Why, WhyBody
from jobplane.gateway.searches import with_ids
from jobplane.gateway.verb_examples import OPERATIONS
from jobplane.gateway.views import Accepted
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin", tags=["bulk operations"])

_LOOK_AGAIN_S: Final = 0.02
_SLOWEST_LOOK_S: Final = 0.25
_TRY_AGAIN_S: Final = 5

OperationPath = Annotated[
    UUID, Path(description="The operation's id.", examples=["01920a40-0000-7000-8000-00000000b01c"])
]


class UndoWish(Wish):
    """How to take an operation back."""

    reason: Reason | None = Field(default=None, examples=["wrong queue"])
    """Why, in your words; kept in the audit log."""
    dry_run: bool = False
    """Only plan it."""
    rate: float | None = Field(default=None, ge=0.1, le=MAX_RATE)
    """At most so many jobs a second."""


class RunWish(Why):
    """On which conditions to run a plan."""

    max_drift: int | None = Field(default=None, ge=0, examples=[10])
    """Refuse if more jobs than this came to fit the filter, or ceased to, since it was planned."""


_ANY: Final = ("idempotency_key_reused", "not_accepted", "journal_diverged", "command_expired", "reason_required")
_OF_PLAN: Final = (
    "operation_not_found",
    "operation_not_planned",
    "not_your_plan",
    "plan_expired",
    "plan_drifted",
    "plan_mismatch",
    "already_undone",
    "plan_failed",
)
_OF_ONE: Final = (
    "operation_not_found",
    "idempotency_key_reused",
    "not_accepted",
    "journal_diverged",
    "command_expired",
)


def _begun(of: str = "") -> Responses:
    """The operation as it is when it is planned, or when it has just been asked for."""
    headers, planned, requested = ("Location",), OPERATIONS[f"{of}planned"], OPERATIONS[f"{of}requested"]
    goes_on = "It goes on in the background: follow it there."
    return shows(OperationView, 200, "Planned, as asked.", headers=headers, example=planned) | shows(
        OperationView, 202, goes_on, headers=headers, example=requested
    )


def _controlled(verb: str) -> Responses:
    return shows(OperationView, example=OPERATIONS[verb]) | shows(
        Accepted, 202, "Accepted, not decided yet.", headers=("Location", "Retry-After")
    )


@router.post(
    "/jobs/bulk",
    status_code=202,
    responses=_begun()
    | may_fail(
        "selector_required",
        "selector_ambiguous",
        "invalid_query",
        "edit_required",
        "edit_not_allowed",
        "payload_not_in_bulk",
        "plan_required",
        "field_redacted",
        "search_too_slow",
        *_OF_PLAN,
        *_ANY,
    ),
    summary="Do something to many jobs",
)
async def bulk(
    request: Request, caller: Admin, agreed: AgreedToCreate, wish: Annotated[BulkWish, Depends(JsonBody(BulkWish))]
) -> Response:
    """Retry, cancel, force, restore or edit any number of jobs as one operation, in the background.

    Every job gets an outcome of its own; jobs that the action does not fit are skipped and say why. With `dry_run` the
    operation is only planned: look at it, then give its id as `plan`, or `POST …/run`.
    """
    command: PlanOperation | RunOperation
    if wish.plan is None:
        wanted = filter_in(wish)
        known = None if wanted is None else await with_ids(gateway_of(request).accounts, wanted)
        command = command_to_plan(wish, known)
    else:
        command = command_to_run(wish)
    return await _begin(request, caller, command, wish, wish.reason, agreed, plan_only=wish.dry_run)


@router.get("/operations", responses=shows(OperationPage) | may_fail("invalid_cursor"), summary="List bulk operations")
async def operations(
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    limit: Limit = 50,
    cursor: PageCursor = None,
    status: Annotated[list[OperationStatus], Query(description="Any of these.", max_length=7)] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Newest first."""
    asked = ListOperations(limit=limit, cursor=cursor, status=status)
    gateway = gateway_of(request)
    page = await gateway.bus.ask_raw("jobs", "operations", asked)
    await people.name(gateway.accounts, page["items"])
    return ready(page)


@router.get(
    "/operations/{operation_id}",
    responses=shows(OperationView) | may_fail("operation_not_found"),
    summary="Look at a bulk operation",
)
async def operation(request: Request, caller: Viewer, operation_id: OperationPath) -> Response:  # noqa: ARG001 - declares who may call
    """Its plan, how far it is, what became of its jobs, and what could be taken back."""
    return ready(await _view(request, str(operation_id)))


@router.get(
    "/operations/{operation_id}/items",
    responses=shows(OperationItems) | may_fail("operation_not_found", "invalid_cursor"),
    summary="See what became of each job of a bulk operation",
)
async def operation_items(
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    operation_id: OperationPath,
    limit: Annotated[int, Query(ge=1, le=500, description="How many items at most.")] = 200,
    cursor: PageCursor = None,
    outcome: Annotated[ItemOutcome | None, Query(description="Only these.")] = None,
    code: Annotated[
        str | None,
        Query(
            max_length=64,
            pattern=r"^[a-z_]+$",
            description="Only those skipped for this reason.",
            examples=["job_not_failed"],
        ),
    ] = None,
) -> Response:
    """In the order of the operation."""
    asked = ListItems(operation_id=str(operation_id), limit=limit, cursor=cursor, outcome=outcome, code=code)
    return ready(await gateway_of(request).bus.ask_raw("jobs", "operation_items", asked))


@router.post(
    "/operations/{operation_id}/run",
    responses=_controlled("run")
    | may_fail(
        "operation_not_planned",
        "not_your_plan",
        "plan_expired",
        "plan_drifted",
        "already_undone",
        "reason_required",
        *_OF_ONE,
    ),
    summary="Run a plan",
)
async def run_operation(
    request: Request,
    caller: Admin,
    operation_id: OperationPath,
    agreed: AgreedToCreate,
    wish: Annotated[RunWish, Depends(JsonBody(RunWish, RunWish()))],
) -> Response:
    """Carry out what was planned; only whoever planned it may, or a superadmin, within a day."""
    command = RunOperation(operation_id=str(operation_id), max_drift=wish.max_drift)
    return await _control(request, caller, command, wish, agreed)


@router.post(
    "/operations/{operation_id}/pause",
    responses=_controlled("pause") | may_fail("operation_not_running", *_OF_ONE),
    summary="Pause a bulk operation",
)
async def pause_operation(
    request: Request, caller: Admin, operation_id: OperationPath, agreed: AgreedToCreate, why: WhyBody
) -> Response:
    """No further job is touched until it is resumed; what is still being planned stays planned until it is run."""
    return await _control(request, caller, PauseOperation(operation_id=str(operation_id)), why, agreed)


@router.post(
    "/operations/{operation_id}/resume",
    responses=_controlled("resume") | may_fail("operation_not_paused", *_OF_ONE),
    summary="Resume a bulk operation",
)
async def resume_operation(
    request: Request, caller: Admin, operation_id: OperationPath, agreed: AgreedToCreate, why: WhyBody
) -> Response:
    """Go on where it was paused."""
    return await _control(request, caller, ResumeOperation(operation_id=str(operation_id)), why, agreed)


@router.post(
    "/operations/{operation_id}/stop",
    responses=_controlled("stop") | may_fail("operation_ended", *_OF_ONE),
    summary="Stop a bulk operation",
)
async def stop_operation(
    request: Request, caller: Admin, operation_id: OperationPath, agreed: AgreedToCreate, why: WhyBody
) -> Response:
    """No further job is touched; what is done stays done, and can be undone."""
    return await _control(request, caller, StopOperation(operation_id=str(operation_id)), why, agreed)


@router.post(
    "/operations/{operation_id}/undo",
    status_code=202,
    responses=_begun("undo ")
    | may_fail(
        "operation_not_ended",
        "not_undoable",
        "nothing_to_undo",
        "already_undone",
        "operation_not_found",
        "plan_failed",
        *_ANY,
    ),
    summary="Take a bulk operation back",
)
async def undo_operation(
    request: Request,
    caller: Admin,
    operation_id: OperationPath,
    agreed: AgreedToCreate,
    wish: Annotated[UndoWish, Depends(JsonBody(UndoWish, UndoWish()))],
) -> Response:
    """Make a new operation that does the opposite to each job that is still as this one left it."""
    command = UndoOperation(operation_id=new_id(), undo_of=str(operation_id), rate=wish.rate, then_run=not wish.dry_run)
    return await _begin(request, caller, command, wish, wish.reason, agreed, plan_only=wish.dry_run)


async def _begin(
    request: Request,
    caller: Caller,
    command: PlanOperation | UndoOperation | RunOperation,
    wish: Wish,
    reason: str | None,
    agreed: Terms,
    *,
    plan_only: bool,
) -> Response:
    """Ask for an operation; whoever only plans, or asks to wait, sees the plan or the end of it if it comes in time.

    Raises:
        Refused: it was refused, or it turned out in time that it cannot be planned or may not run.
    """
    until = asyncio.get_running_loop().time() + agreed.wait_s
    outcome = await _decided(request, caller, command, wish, reason, agreed)
    if isinstance(outcome, Response):
        return outcome
    id_ = _id_of(outcome, command)
    waited_for = {"planned", "failed", "stopped", "done"}
    wait = plan_only or "wait" in request.headers.get("prefer", "")
    shown = await _view(request, id_)
    pause_s = _LOOK_AGAIN_S
    while wait and shown["status"] not in waited_for and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(pause_s)
        pause_s = min(_SLOWEST_LOOK_S, pause_s * 2)
        shown = await _view(request, id_)
    stuck = shown["status"] == "failed" or (shown["status"] == "planned" and not plan_only)
    if wait and stuck and shown.get("code"):
        facts = {"operation_id": id_, "operation_status": shown["status"], "jobs": shown.get("total")}
        again = {"retry_after_s": _TRY_AGAIN_S} if status_of(shown["code"]) is HTTPStatus.SERVICE_UNAVAILABLE else {}
        raise Refused(shown["code"], shown["detail"], facts | again)
    headers = {"Location": f"/api/admin/operations/{id_}"}
    return ready(shown, headers, 200 if wait and shown["status"] in waited_for else 202)


async def _control(
    request: Request, caller: Caller, command: AnyOperationCommand, wish: Why, agreed: Terms
) -> Response:
    outcome = await _decided(request, caller, command, wish, wish.reason, agreed)
    if isinstance(outcome, Response):
        return outcome
    return ready(await _view(request, _id_of(outcome, command)))


async def _decided(
    request: Request, caller: Caller, command: AnyOperationCommand, wish: Wish, reason: str | None, agreed: Terms
) -> CommandOutcome | Response:
    """The outcome, or the answer where it is not there in time.

    Raises:
        Refused: it was refused.
    """
    keyed = agreed.idempotency_key is not None
    id_, outcome = await commands.issue(
        gateway_of(request),
        caller,
        command,
        reason=reason,
        id_=commands.command_id(caller.actor.id, request.method, request.scope["path"], agreed.idempotency_key),
        body_digest=commands.digest(wish, agreed) if keyed else None,
        agreed=agreed,
    )
    if outcome is None:
        return commands.accepted(id_)
    if outcome.status == "refused":
        raise commands.refusal(outcome)
    return outcome


def _id_of(outcome: CommandOutcome, command: AnyOperationCommand) -> str:
    """The operation; a repeated request is told of the one that the first of them made."""
    return str(outcome.facts.get("operation_id", command.operation_id))


async def _view(request: Request, operation_id: str) -> dict[str, Any]:
    asked = OneOperation(operation_id=operation_id)
    gateway = gateway_of(request)
    shown = await gateway.bus.ask_raw("jobs", "operation", asked)
    await people.name(gateway.accounts, [shown])
    return shown
