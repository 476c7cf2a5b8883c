"""The screen of the audit log."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from jobplane.contracts.audit import AuditAction, AuditPage
from jobplane.gateway.console import rendering
from jobplane.gateway.console.failures import Screen
from jobplane.gateway.console.filters import AuditView
from jobplane.gateway.console.visitor import Visitor, frame
from jobplane.gateway.routes.audit import entries
from jobplane.gateway.wiring import gateway_of

router: Final = APIRouter(route_class=Screen)
PATH: Final = "/admin/audit"


@router.get(PATH)
async def audit(request: Request, caller: Visitor) -> Response:
    """The log, newest first."""
    view = AuditView.read(request.query_params)
    gateway = gateway_of(request)
    asked = view.query(await gateway.accounts.id_of(view.actor) if view.actor else None)
    page = AuditPage.model_validate(await entries(gateway, caller, asked))
    values = {"view": view, "page": page, "audit_actions": list(AuditAction)}
    return rendering.html("audit.html", frame(request, caller, PATH) | values)


@router.get(PATH + "/new")
async def new_entries(request: Request, _caller: Visitor, after: Annotated[int, Query(ge=0)] = 0) -> Response:
    """How many entries of this view came after position `after`, as a link that shows them; empty without any."""
    view = AuditView.read(request.query_params)
    gateway = gateway_of(request)
    asked = view.query(await gateway.accounts.id_of(view.actor) if view.actor else None)
    page = await gateway.bus.ask("audit", "list", asked, AuditPage)
    count = sum(item.position > after for item in page.items)
    return rendering.html("parts/audit_new.html", {"view": view, "count": count, "more": count == view.limit})
