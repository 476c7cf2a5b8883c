"""The AuditLog, with names and addresses filled in from the gateway's own erasable tables."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from jobplane.contracts.actors import HUMAN_KINDS, Role
from jobplane.contracts.audit import AuditAction, AuditPage, AuditQuery
from jobplane.gateway.answers import Limit, PageCursor, Since, Until, ready
from jobplane.gateway.auth import Caller, Viewer
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.wiring import Gateway, gateway_of

router = APIRouter(prefix="/api/admin/audit", tags=["audit"])

_Text = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")]
_COMMAND: Final = "01920a3d-1200-7c00-9000-ba9876543210"
_Actor = Annotated[
    _Text | None,
    Query(
        description="What this account, worker or service did (its name or its id).",
        examples=["anna"],
    ),
]
_Target = Annotated[
    _Text | None,
    Query(
        description="What was done to this job, queue, operation or account (its id or name).",
        examples=["01920a3c-7f00-7a00-8000-0123456789ab"],
    ),
]
_CommandId = Annotated[UUID | None, Query(description="What came of this command.", examples=[_COMMAND])]
_Operation = Annotated[
    UUID | None,
    Query(
        description="All that happened to this bulk operation, and to jobs because of it.",
        examples=["01920a40-0000-7000-8000-00000000b01c"],
    ),
]
_CorrelationId = Annotated[UUID | None, Query(description="All that came of one request.", examples=[_COMMAND])]


@router.get("", responses=shows(AuditPage) | may_fail("invalid_cursor"), summary="Search the audit log")
async def audit_log(  # noqa: PLR0913, PLR0917 - one parameter per filter
    request: Request,
    caller: Viewer,
    limit: Limit = 50,
    cursor: PageCursor = None,
    action: Annotated[list[AuditAction], Query(description="Any of these.", max_length=50)] = [],  # noqa: B006 - FastAPI copies it
    actor: _Actor = None,
    target: _Target = None,
    outcome: Annotated[Literal["accepted", "refused"] | None, Query(description="Only those.")] = None,
    command_id: _CommandId = None,
    correlation_id: _CorrelationId = None,
    operation: _Operation = None,
    since: Since = None,
    until: Until = None,
) -> Response:
    """Who did what to which job, when and why, newest first; refused attempts too. Addresses are for admins."""
    gateway = gateway_of(request)
    asked = AuditQuery(
        limit=limit,
        cursor=cursor,
        action=action,
        actor=None if actor is None else await gateway.accounts.id_of(actor),
        target=target,
        outcome=outcome,
        command_id=_id(command_id),
        correlation_id=_id(correlation_id),
        operation=_id(operation),
        since=since,
        until=until,
    )
    return ready(await entries(gateway, caller, asked))


def _id(given: UUID | None) -> str | None:
    return None if given is None else str(given)


async def entries(gateway: Gateway, caller: Caller, asked: AuditQuery) -> dict[str, Any]:
    """A page of the log with the names of accounts and, for admins, the addresses they came from."""
    page = await gateway.bus.ask_raw("audit", "list", asked)
    actors = [item["actor"] for item in page["items"]]
    names = await gateway.accounts.names({actor["id"] for actor in actors if actor["kind"] in HUMAN_KINDS})
    origins = {actor["origin"] for actor in actors if actor.get("origin")}
    addresses = await gateway.origins.addresses(origins) if origins and caller.may(Role.ADMIN) else {}
    for actor in actors:
        actor["name"] = names.get(actor["id"])
        actor["address"] = addresses.get(actor.get("origin") or "")
    return page
