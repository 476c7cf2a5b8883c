"""One job, now and then: its detail, its history, its attempts."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from starlette.responses import Response

from jobplane.contracts import queries
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import Attempts, History, JobView
from jobplane.gateway import people
from jobplane.gateway.answers import ONE_JOB, Instant, JobIdPath, PageCursor, ready
from jobplane.gateway.auth import Viewer
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/jobs", tags=["jobs"])

_EVENTS: Final = Query(ge=1, le=500, description="How many at most.")
NOT_YET: Final = ("position_not_reached", "as_of_in_the_future")
"""How an `as_of` may be refused."""


def _either(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """What a union says of its members one by one is of no use to whoever meant one of them."""
    try:
        return read(value)
    except ValidationError as error:
        msg = "write an instant as 2026-11-22T12:00:00Z, or a position of the journal as a number"
        raise ValueError(msg) from error


AsOf = Annotated[
    Annotated[Annotated[int, Field(ge=1, lt=2**63)] | Instant, WrapValidator(_either)] | None,
    Query(
        description="The job as it was: at an instant (RFC 3339 with a time zone) or at a position of the journal.",
        examples=["2026-11-22T12:00:00Z", 4711],
    ),
]


@router.get(
    ONE_JOB,
    responses=shows(JobView, headers=("ETag",)) | may_fail("job_not_found", *NOT_YET),
    summary="Look at a job",
)
async def job_detail(
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    job_id: JobIdPath,
    as_of: AsOf = None,
) -> Response:
    """Everything about one job, with payload, result and error. The ETag is its version, for If-Match.

    With `as_of` the job as it was, folded from its events, with the payload it had then; `404` before its creation,
    `422` for what is still to come.
    """
    position = as_of if isinstance(as_of, int) else None
    at: AwareDatetime | None = None if isinstance(as_of, int) else as_of
    asked = queries.OneJob(job_id=JobId(str(job_id)), at=at, position=position)
    job = await gateway_of(request).bus.ask_raw("jobs", "detail", asked)
    return ready(job, {"ETag": f'"{job["version"]}"'})


@router.get(
    "/{job_id}/history",
    responses=shows(History) | may_fail("job_not_found", "invalid_cursor"),
    summary="See what happened to a job",
)
async def job_history(
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    job_id: JobIdPath,
    limit: Annotated[int, _EVENTS] = 200,
    cursor: PageCursor = None,
) -> Response:
    """Every event of the job, oldest first, with who caused it, why, and what it changed."""
    asked = queries.OneJobHistory(job_id=JobId(str(job_id)), limit=limit, cursor=cursor)
    gateway = gateway_of(request)
    history = await gateway.bus.ask_raw("jobs", "history", asked)
    await people.name(gateway.accounts, history["items"])
    return ready(history)


@router.get(
    "/{job_id}/attempts",
    responses=shows(Attempts) | may_fail("job_not_found", "invalid_cursor"),
    summary="See the runs of a job",
)
async def job_attempts(
    request: Request,
    caller: Viewer,  # noqa: ARG001 - declares who may call
    job_id: JobIdPath,
    limit: Annotated[int, _EVENTS] = 200,
    cursor: PageCursor = None,
) -> Response:
    """Every run of the job, oldest first: who ran it, from when to when, how it ended and why. No retry erases one."""
    asked = queries.OneJobAttempts(job_id=JobId(str(job_id)), limit=limit, cursor=cursor)
    return ready(await gateway_of(request).bus.ask_raw("jobs", "attempts", asked))
