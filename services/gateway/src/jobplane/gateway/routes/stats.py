"""The numbers of the dashboard."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from jobplane.contracts import queries
from jobplane.contracts.jobs import JobCount, Stats
from jobplane.gateway.answers import ready
from jobplane.gateway.auth import Viewer
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.searches import (
    MAY_MISREAD,
    SEARCH_S,
    IndexedTo,
    Kinds,
    Queues,
    SearchQuery,
    Statuses,
    filter_of,
    with_ids,
)
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/stats", tags=["stats"])


@router.get("", responses=shows(Stats), summary="Count jobs")
async def stats(request: Request, caller: Viewer) -> Response:  # noqa: ARG001 - declares who may call
    """Exact counts by status and queue, and the position of the journal that they are true for."""
    return ready(await gateway_of(request).bus.ask_raw("jobs", "stats"))


@router.get("/jobs", responses=shows(JobCount) | may_fail(*MAY_MISREAD), summary="Count the jobs that a search finds")
async def count_jobs(
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    q: SearchQuery = "",
    status: Statuses = [],  # noqa: B006 - FastAPI copies it
    queue: Queues = [],  # noqa: B006 - see above
    kind: Kinds = [],  # noqa: B006 - see above
    indexed_to: IndexedTo = None,
) -> Response:
    """By status and queue alone always exact, else exact up to 10,000, and beyond that an `estimate`."""
    gateway = gateway_of(request)
    wanted = await with_ids(gateway.accounts, filter_of(q, status=status, queue=queue, kind=kind))
    asked = queries.CountJobs(filter=wanted, indexed_to=indexed_to)
    return ready(await gateway.bus.ask_raw("jobs", "count", asked, timeout_s=SEARCH_S))
