"""Error groups: which causes make jobs fail, how often, since when, and where."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from jobplane.contracts.error_groups import (
    MAX_GROUPS,
    ErrorGroupPage,
    ErrorGroupView,
    ErrorSort,
    ListErrorGroups,
    OneErrorGroup,
)
from jobplane.contracts.job_filter import FINGERPRINT_PATTERN
from jobplane.contracts.subjects import KIND_PATTERN, QUEUE_PATTERN
from jobplane.gateway.answers import PageCursor, Since, ready
from jobplane.gateway.auth import Viewer
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/errors", tags=["errors"])

FingerprintPath = Annotated[
    str, Path(pattern=FINGERPRINT_PATTERN, description="The group's fingerprint.", examples=["9f86d081884c7d65"])
]
_ANY: Final = "Any of these."
_Limit = Annotated[int, Query(ge=1, le=MAX_GROUPS, description="How many groups at most.")]
_Kinds = Annotated[
    list[Annotated[str, StringConstraints(pattern=KIND_PATTERN)]], Query(max_length=50, description=_ANY)
]
_Queues = Annotated[
    list[Annotated[str, StringConstraints(pattern=QUEUE_PATTERN)]], Query(max_length=50, description=_ANY)
]
_Types = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=200)]], Query(max_length=50, description=_ANY)
]


@router.get("", responses=shows(ErrorGroupPage) | may_fail("invalid_cursor"), summary="List error groups")
async def list_errors(  # noqa: PLR0913, PLR0917 - one parameter per filter
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    limit: _Limit = 50,
    cursor: PageCursor = None,
    sort: Annotated[ErrorSort, Query(description="What comes first.")] = ErrorSort.LAST_SEEN,
    kind: _Kinds = [],  # noqa: B006 - FastAPI copies it
    queue: _Queues = [],  # noqa: B006 - see above
    type: _Types = [],  # noqa: A002, B006 - the name of the filter; see above
    since: Since = None,
) -> Response:
    """Failures with the same cause are one group. Those that failed last come first, or as `sort` says.

    `since` leaves out what did not fail at this instant or later. Kinds and queues are the first 20 of a group.
    """
    asked = ListErrorGroups(limit=limit, cursor=cursor, sort=sort, kind=kind, queue=queue, type=type, since=since)
    page = await gateway_of(request).bus.ask_raw("jobs", "errors", asked)
    return ready({"items": page["items"], "next_cursor": page.get("next_cursor")})


@router.get(
    "/{fingerprint}",
    responses=shows(ErrorGroupView) | may_fail("error_group_not_found"),
    summary="Look at an error group",
)
async def error_detail(request: Request, caller: Viewer, fingerprint: FingerprintPath) -> Response:  # noqa: ARG001 - declares who may call
    """What the latest failure of the group said, with its stack, and the newest jobs whose latest error it is."""
    asked = OneErrorGroup(fingerprint=fingerprint)
    return ready(await gateway_of(request).bus.ask_raw("jobs", "error", asked))
