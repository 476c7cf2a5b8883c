"""The live stream, as server-sent events."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from jobplane.contracts.errors import Unavailable
from jobplane.gateway.auth import Viewer
from jobplane.gateway.live_cursor import PATTERN, Cursor
from jobplane.gateway.openapi import may_fail
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/live", tags=["live"])

_ID: Final[dict[str, Any]] = {"pattern": PATTERN, "examples": ["1.j120.a7.h0"]}
_SHOWS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events, for as long as the connection and the session last.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": (
                    "id: 1.j120.a7.h0\nevent: job.retried.v1\n"
                    'data: {"source":"EVT_JOBS","position":120,"type":"job.retried.v1",'
                    '"subject":"01920a3c-7f00-7a00-8000-0123456789ab","at":"2026-11-22T12:00:00Z",'
                    '"actor":{"id":"01920a3c-0000-7000-8000-000000000001","kind":"user"},"reason":"fixed",'
                    '"command_id":null,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",'
                    '"data":{"before":"FAILED","after":"PENDING"}}\n\n'
                ),
            }
        },
    }
}


@router.get(
    "", responses=_SHOWS | may_fail("invalid_cursor"), summary="Follow what happens", response_class=StreamingResponse
)
async def live(
    request: Request,
    caller: Viewer,
    last_event_id: Annotated[
        str | None,
        Header(
            max_length=200,
            description="The last id you got: the stream goes on right after it.",
            json_schema_extra=_ID,
        ),
    ] = None,
    last_event_id_param: Annotated[
        str | None,
        Query(
            alias="last_event_id",
            max_length=200,
            description="The same, where no header can be set (`1.j120` will do).",
            json_schema_extra=_ID,
        ),
    ] = None,
) -> StreamingResponse:
    """Every event of every journal, as it happens; the name of an event is its type.

    After a break send the last id (browsers do): nothing is missed, nothing comes twice. `reset` says that this is not
    possible any more: load everything anew. A comment every 15 seconds keeps the connection alive.
    """
    gateway, known = gateway_of(request), caller.known
    text = last_event_id or last_event_id_param
    cursor = Cursor.parse(text) if text else None

    async def still_valid() -> bool:
        try:
            return await gateway.sessions.find(known.credential, known.secret_hash) is not None
        except Unavailable:
            return False

    gateway.live.check_room()
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(gateway.live.events(cursor, still_valid), headers=headers, media_type="text/event-stream")
