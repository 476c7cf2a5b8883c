"""Uploaded pictures become files in the store and jobs that make their thumbnails."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CreateJob
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.gateway import assets, commands
from jobplane.gateway.console.failures import Screen
from jobplane.gateway.console.visitor import Operator
from jobplane.gateway.wiring import gateway_of

router: Final = APIRouter(route_class=Screen)
PATH: Final = "/admin/upload"
_KIND: Final = "image.thumbnail"
_MOST_FILES: Final = 20
"""Scripts send one file a request; a browser without scripts may send a few at once."""


@router.post(PATH)
async def upload(request: Request, caller: Operator) -> Response:
    """Keep each file and create its job; the first refusal ends the request."""
    gateway = gateway_of(request)
    # Read here, not by a parameter: nobody may fill the disk before we know who they are.
    async with request.form(max_files=_MOST_FILES, max_fields=0) as form:
        files = [file for file in form.getlist("file") if isinstance(file, UploadFile) and file.filename]
        if not files:
            raise Refused("invalid_request", "Choose at least one picture.")
        for file in files:
            asset = await assets.keep(gateway, caller, file)
            command = CreateJob(job_id=JobId(new_id()), kind=_KIND, asset=asset.id)
            _, outcome = await commands.issue(gateway, caller, command)
            if outcome is not None and outcome.status == "refused":
                raise commands.refusal(outcome)
    if request.headers.get("accept") == "text/plain":
        return PlainTextResponse("Accepted.", 201)
    return RedirectResponse("/admin/jobs", 303)
