"""The screens of jobs: the live list and one job with its history."""

import asyncio
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from jobplane.contracts.actors import HUMAN_KINDS
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import History, JobView, Stats
from jobplane.contracts.queries import Nothing, OneJob, OneJobHistory
from jobplane.gateway.console import rendering
from jobplane.gateway.console.failures import Screen
from jobplane.gateway.console.filters import JobsView
from jobplane.gateway.console.searching import find
from jobplane.gateway.console.visitor import Operator, Visitor, frame, is_partial
from jobplane.gateway.wiring import Gateway, gateway_of

router: Final = APIRouter(route_class=Screen)
PATH: Final = "/admin/jobs"


@router.get("/admin")
async def home(_caller: Visitor) -> Response:
    """The first screen, for now."""
    return RedirectResponse(PATH, 303)


@router.get(PATH)
async def jobs(request: Request, caller: Visitor) -> Response:
    """The list, newest first, of what the filters and the query find; htmx gets the part that changes."""
    view = JobsView.read(request.query_params)
    gateway = gateway_of(request)
    (page, not_searched), stats = await asyncio.gather(
        find(gateway, view), gateway.bus.ask("jobs", "stats", Nothing(), Stats)
    )
    values = {
        "view": view,
        "page": page,
        "not_searched": not_searched,
        "stats": stats,
        "total": sum(stats.by_status.values()),
        "kinds": sorted({job.kind for job in page.items}),
    }
    template = "parts/jobs_refresh.html" if is_partial(request) else "jobs.html"
    return rendering.html(template, frame(request, caller, PATH) | values)


@router.get(PATH + "/{job_id}")
async def job(request: Request, caller: Visitor, job_id: UUID) -> Response:
    """One job: what it is, what became of it, and everything that happened to it."""
    gateway = gateway_of(request)
    id_ = JobId(str(job_id))
    view, history = await asyncio.gather(
        gateway.bus.ask("jobs", "detail", OneJob(job_id=id_), JobView),
        gateway.bus.ask("jobs", "history", OneJobHistory(job_id=id_), History),
    )
    values = {"job": view, "history": history, "names": await _names(gateway, history)}
    template = "parts/job_refresh.html" if is_partial(request) else "job.html"
    return rendering.html(template, frame(request, caller, PATH) | values)


@router.get(PATH + "/{job_id}/cancel")
async def confirm_cancel(request: Request, _caller: Operator, job_id: UUID) -> Response:
    """The question before a cancel, with the job as it is now."""
    view = await gateway_of(request).bus.ask("jobs", "detail", OneJob(job_id=JobId(str(job_id))), JobView)
    return rendering.html("parts/cancel.html", {"job": view})


async def _names(gateway: Gateway, history: History) -> dict[str, str]:
    people = {item.actor.id for item in history.items if item.actor.kind in HUMAN_KINDS}
    return await gateway.accounts.names(people) if people else {}
