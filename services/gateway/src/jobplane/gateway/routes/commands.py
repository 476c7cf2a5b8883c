"""Commands: what became of them."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from jobplane.contracts import queries
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.ids import CommandId
from jobplane.gateway import commands
from jobplane.gateway.answers import CommandIdPath, ready
from jobplane.gateway.auth import Viewer
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.pending import Standing
from jobplane.gateway.views import CommandStatus
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/commands", tags=["commands"])


@router.get(
    "/{command_id}",
    responses=shows(CommandStatus) | may_fail("command_not_found"),
    summary="Ask what became of a command",
)
async def command_status(request: Request, caller: Viewer, command_id: CommandIdPath) -> Response:  # noqa: ARG001 - declares who may call
    """`pending` until it is decided or its hour is over; outcomes are kept for seven days."""
    gateway, id_ = gateway_of(request), CommandId(str(command_id))
    try:
        outcome = await gateway.bus.ask("jobs", "command", queries.OneCommand(command_id=id_), CommandOutcome)
    except Refused as error:
        standing = await gateway.pending.standing(id_) if error.code == "command_not_found" else Standing.UNKNOWN
        if standing is Standing.UNKNOWN:
            raise
        if standing is Standing.EXPIRED:
            detail = "Nobody decided it within an hour, so it was not and will not be done. Send it again."
            return ready(CommandStatus(command_id=id_, status="refused", code="command_expired", detail=detail))
    except Unavailable:
        # An expired one may have been done in time: only the jobs service knows.
        if await gateway.pending.standing(id_) is not Standing.PENDING:
            raise
    else:
        return commands.status(outcome)
    return ready(CommandStatus(command_id=id_, status="pending"))
