"""The numbers of the dashboard."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from jobplane.contracts.jobs import Stats
from jobplane.gateway.answers import ready
from jobplane.gateway.auth import Viewer
from jobplane.gateway.openapi import shows
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/stats", tags=["stats"])


@router.get("", responses=shows(Stats), summary="Count jobs")
async def stats(request: Request, caller: Viewer) -> Response:  # noqa: ARG001 - declares who may call
    """Exact counts by status and queue, and the position of the journal that they are true for."""
    return ready(await gateway_of(request).bus.ask_raw("jobs", "stats"))
