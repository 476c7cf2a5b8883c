"""Jobs: list, create, and look at; what else may be done to one is in `control`."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, JsonValue
from pydantic_core import to_json
from starlette.responses import Response

from jobplane.chassis.ids import new_id
from jobplane.contracts import queries
from jobplane.contracts.commands import (
    DEFAULT_MAX_ATTEMPTS,
    KIND_PATTERN,
    MAX_TAGS,
    MAX_TIMEOUT_S,
    CreateJob,
    Tag,
)
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import MAX_PAYLOAD_BYTES, JobView
from jobplane.contracts.queries import JobSort
from jobplane.contracts.subjects import QUEUE_PATTERN
from jobplane.gateway import assets, commands
from jobplane.gateway.answers import Instant, Limit, PageCursor, Reason, ready
from jobplane.gateway.auth import Admin, Viewer
from jobplane.gateway.bodies import JsonBody, Wish
from jobplane.gateway.commands import AgreedToCreate
from jobplane.gateway.openapi import JobListPage, Responses, may_fail, shows
from jobplane.gateway.searches import (
    MAY_MISREAD,
    SEARCH_S,
    Actors,
    Assets,
    Fingerprints,
    IndexedTo,
    Kinds,
    Queues,
    SearchQuery,
    Statuses,
    Tags,
    Workers,
    filter_of,
    with_ids,
)
from jobplane.gateway.verb_examples import CREATED, FOUND, Example
from jobplane.gateway.views import Accepted
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/jobs", tags=["jobs"])

_MS: Final = 1000


class NewJob(Wish):
    """What a new job is to do."""

    kind: str = Field(pattern=KIND_PATTERN, examples=["image.thumbnail"])
    """Which handler runs it."""
    payload: dict[str, JsonValue] = Field(default_factory=dict, examples=[{"side": 320}])
    """What the handler gets; at most 256 KiB of JSON."""
    queue: str = Field(default="default", pattern=QUEUE_PATTERN)
    """Where workers look for it."""
    priority: int = Field(default=0, ge=-1000, le=1000)
    """Higher runs first."""
    run_at: Instant | None = None
    """Not before this instant (RFC 3339 with a time zone); at once if left out."""
    max_attempts: int = Field(default=DEFAULT_MAX_ATTEMPTS, ge=1, le=100)
    """How many attempts it may take."""
    timeout_s: float | None = Field(default=None, ge=0.1, le=MAX_TIMEOUT_S)
    """How long one run may take, in seconds."""
    tags: list[Tag] = Field(default_factory=list, max_length=MAX_TAGS, examples=[["holiday"]])
    """Words to find it by."""
    unique_key: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
    """At most one PENDING or RUNNING job of this kind may have it; a second one is answered with the first."""
    asset: UUID | None = None
    """Id of an uploaded file that it works on."""
    reason: Reason | None = None
    """Why, in your words; kept in the audit log."""


def created(example: Example) -> Responses:
    """What whoever creates a job may see: it, or the one that there is already."""
    headers = ("Location", "ETag")
    there = "A job of this kind has that unique_key already: here it is."
    return shows(JobView, 201, "Created.", headers=headers, example=example) | shows(
        JobView, 200, there, headers=headers, example=FOUND
    )


@router.get(
    "",
    responses=shows(JobListPage) | may_fail("invalid_cursor", "sort_too_broad", *MAY_MISREAD),
    summary="List and search jobs",
)
async def list_jobs(  # noqa: PLR0913, PLR0917 - what may be asked for
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    limit: Limit = 50,
    cursor: PageCursor = None,
    q: SearchQuery = "",
    sort: Annotated[JobSort, Query(description="With a minus the largest or latest first.")] = JobSort.NEWEST,
    status: Statuses = [],  # noqa: B006 - FastAPI copies it
    queue: Queues = [],  # noqa: B006 - see above
    kind: Kinds = [],  # noqa: B006 - see above
    tag: Tags = [],  # noqa: B006 - see above
    worker: Workers = [],  # noqa: B006 - see above
    actor: Actors = [],  # noqa: B006 - see above
    asset: Assets = [],  # noqa: B006 - see above
    fingerprint: Fingerprints = [],  # noqa: B006 - see above
    indexed_to: IndexedTo = None,
) -> Response:
    """Newest first, or as `sort` says. All of `q` and the filters must hold, any of several values of one filter.

    Where the index of the search was asked, `behind` tells how many events it lacks: to find what you just wrote, give
    the `position` of that answer as `indexed_to`.
    """
    wanted = filter_of(
        q,
        status=status,
        queue=queue,
        kind=kind,
        tag=tag,
        worker=worker,
        actor=actor,
        asset=asset,
        fingerprint=fingerprint,
    )
    gateway = gateway_of(request)
    wanted = await with_ids(gateway.accounts, wanted)
    asked = queries.ListJobs(limit=limit, cursor=cursor, filter=wanted, sort=sort, indexed_to=indexed_to)
    page = await gateway.bus.ask_raw("jobs", "list", asked, timeout_s=SEARCH_S)
    for item in page["items"]:
        short(item)
    progress = {name: page.get(name) for name in ("next_cursor", "indexed_to", "behind")}
    return ready({"items": page["items"], **progress})


@router.post(
    "",
    status_code=201,
    responses=created(CREATED)
    | shows(Accepted, 202, "Accepted, not decided yet.", headers=("Location", "Retry-After"))
    | may_fail(
        "idempotency_key_reused",
        "unknown_asset",
        "run_at_too_far",
        "payload_too_large",
        "payload_redacted",
        "not_accepted",
        "journal_diverged",
        "command_expired",
    ),
    summary="Create a job",
)
async def create_job(
    request: Request, caller: Admin, agreed: AgreedToCreate, new: Annotated[NewJob, Depends(JsonBody(NewJob))]
) -> Response:
    """Accept a new job. With an Idempotency-Key a repeated request creates nothing twice."""
    check_payload(new.payload)
    asset = str(new.asset) if new.asset is not None else None
    if asset is not None and not await assets.exists(gateway_of(request), asset):
        raise Refused("unknown_asset", "There is no uploaded file of that id: POST it to /api/admin/assets first.")
    command = CreateJob(
        job_id=JobId(new_id()),
        kind=new.kind,
        payload=new.payload,
        queue=new.queue,
        priority=new.priority,
        run_at=new.run_at,
        max_attempts=new.max_attempts,
        timeout_ms=round(new.timeout_s * _MS) if new.timeout_s is not None else None,
        tags=new.tags,
        unique_key=new.unique_key,
        asset=asset,
    )
    return await commands.answer(request, caller, command, new, new.reason, agreed)


def check_payload(payload: dict[str, JsonValue] | None) -> None:
    """Refuse a payload that no job may have.

    Raises:
        Refused: `payload_too_large`.
    """
    if payload and len(to_json(payload)) > MAX_PAYLOAD_BYTES:
        detail = f"A payload has at most {MAX_PAYLOAD_BYTES} bytes: upload larger data as a file."
        raise Refused("payload_too_large", detail, {"limit_bytes": MAX_PAYLOAD_BYTES})


def short(item: dict[str, Any]) -> None:
    """Make a job an item of a list: without payload, result and error.stack."""
    item.pop("payload", None)
    item.pop("result", None)
    if item.get("error"):
        item["error"].pop("stack", None)
