"""What may be done to a job: retry, cancel, run, restore, edit, copy."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, JsonValue
from starlette.responses import Response

from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import (
    MAX_TAGS,
    MAX_TIMEOUT_S,
    CancelJob,
    CreateJob,
    EditJob,
    ForceRunJob,
    RestoreJob,
    RetryJob,
    Tag,
)
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobView
from jobplane.contracts.queries import OneJob
from jobplane.contracts.subjects import QUEUE_PATTERN
from jobplane.gateway import commands
from jobplane.gateway.answers import ONE_JOB, Instant, JobIdPath, Reason
from jobplane.gateway.auth import Admin
from jobplane.gateway.bodies import JsonBody, Wish
from jobplane.gateway.commands import Agreed, AgreedToCreate
from jobplane.gateway.openapi import Responses, may_fail, shows
from jobplane.gateway.routes.jobs import check_payload, created
from jobplane.gateway.verb_examples import COPIED, JOBS
from jobplane.gateway.views import Accepted, Controlled
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/jobs", tags=["jobs"])


class Why(Wish):
    """Why something is done."""

    reason: Reason | None = Field(default=None, examples=["the disk is full no longer"])
    """In your words; kept in the audit log."""


WhyBody = Annotated[Why, Depends(JsonBody(Why, Why()))]


class Copy(Wish):
    """What is otherwise in the copy; what is left out (or null) is as in the job that is copied."""

    payload: dict[str, JsonValue] | None = Field(default=None, examples=[{"side": 640}])
    """What the handler gets, whole; at most 256 KiB of JSON."""
    queue: str | None = Field(default=None, pattern=QUEUE_PATTERN)
    """Where workers look for it."""
    priority: int | None = Field(default=None, ge=-1000, le=1000)
    """Higher runs first."""
    run_at: Instant | None = None
    """Not before this instant (RFC 3339 with a time zone); at once if left out."""
    max_attempts: int | None = Field(default=None, ge=1, le=100)
    """How many attempts it may take."""
    timeout_s: float | None = Field(default=None, ge=0.1, le=MAX_TIMEOUT_S)
    """How long one run may take, in seconds."""
    tags: list[Tag] | None = Field(default=None, max_length=MAX_TAGS)
    """Words to find it by."""
    unique_key: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
    """Never copied: two jobs that wait or run cannot have the same."""
    reason: Reason | None = Field(default=None, examples=["once more, larger"])
    """Why, in your words; kept in the audit log."""


class Edit(Wish):
    """What to change of a job; what is left out (or null) stays as it is."""

    payload: dict[str, JsonValue] | None = Field(default=None, examples=[{"side": 640}])
    """What the handler gets instead, whole; at most 256 KiB of JSON. Needs a reason."""
    queue: str | None = Field(default=None, pattern=QUEUE_PATTERN, examples=["images"])
    """Where workers look for it."""
    priority: int | None = Field(default=None, ge=-1000, le=1000, examples=[10])
    """Higher runs first."""
    run_at: Instant | None = None
    """Not before this instant (RFC 3339 with a time zone); one that has passed means at once."""
    max_attempts: int | None = Field(default=None, ge=1, le=100)
    """How many attempts it may take, those it has taken included."""
    reason: Reason | None = Field(default=None, examples=["the size was wrong"])
    """Why, in your words; kept in the audit log."""


_ACCEPTED: Final = shows(Accepted, 202, "Accepted, not decided yet.", headers=("Location", "Retry-After"))
_ANY_COMMAND: Final = (
    "job_not_found",
    "job_archived",
    "version_conflict",
    "idempotency_key_reused",
    "not_accepted",
    "journal_diverged",
    "command_expired",
)


def _controlled(verb: str) -> Responses:
    return shows(Controlled, headers=("ETag",), example=JOBS[verb]) | _ACCEPTED


@router.post(
    "/{job_id}/retry",
    responses=_controlled("retry") | may_fail("job_not_failed", "unique_key_taken", *_ANY_COMMAND),
    summary="Retry a failed job",
)
async def retry_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Give a FAILED job a new set of attempts; its history stays."""
    return await commands.answer(request, caller, RetryJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.post(
    "/{job_id}/cancel",
    responses=_controlled("cancel") | may_fail("job_finished", *_ANY_COMMAND),
    summary="Cancel a job",
)
async def cancel_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Stop a PENDING or RUNNING job. A running one is fenced at once; `stop` tells later what its worker did."""
    return await commands.answer(request, caller, CancelJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.post(
    "/{job_id}/run", responses=_controlled("run") | may_fail("job_not_pending", *_ANY_COMMAND), summary="Run a job now"
)
async def run_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Make a PENDING job due now, before all priorities."""
    return await commands.answer(request, caller, ForceRunJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.delete(
    ONE_JOB,
    responses=_controlled("cancel") | may_fail("job_finished", *_ANY_COMMAND),
    summary="Cancel a job (the same as POST …/cancel)",
)
async def delete_job(
    request: Request,
    caller: Admin,
    job_id: JobIdPath,
    agreed: Agreed,
    reason: Annotated[
        Reason | None, Query(description="Why; kept in the audit log.", examples=["ordered twice"])
    ] = None,
) -> Response:
    """Nothing is erased: the job is cancelled and its history stays."""
    command = CancelJob(job_id=JobId(str(job_id)))
    return await commands.answer(request, caller, command, Why(reason=reason), reason, agreed)


@router.post(
    "/{job_id}/restore",
    responses=_controlled("restore") | may_fail("job_not_cancelled", "stop_pending", "unique_key_taken", *_ANY_COMMAND),
    summary="Take a cancel back",
)
async def restore_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Make a CANCELLED job PENDING again, with its time and its attempts; the run that was cut off does not count.

    While `stop` is `pending` nobody knows what became of that run: refused until it is settled.
    """
    return await commands.answer(request, caller, RestoreJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.patch(
    ONE_JOB,
    responses=_controlled("edit")
    | may_fail(
        "job_not_editable",
        "nothing_to_change",
        "max_attempts_too_low",
        "run_at_too_far",
        "reason_required",
        "payload_redacted",
        *_ANY_COMMAND,
    ),
    summary="Edit a job",
)
async def edit_job(
    request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, edit: Annotated[Edit, Depends(JsonBody(Edit))]
) -> Response:
    """Change what a PENDING or FAILED job is to do, where, when or how often; history keeps what was before.

    A failed job stays FAILED until it is retried; it then waits for the new `run_at`. A payload in which `[redacted]`
    stands for a secret, as it is shown, is refused: write the secret there, or reveal the job first.
    """
    check_payload(edit.payload)
    command = EditJob(
        job_id=JobId(str(job_id)),
        payload=edit.payload,
        queue=edit.queue,
        priority=edit.priority,
        run_at=edit.run_at,
        max_attempts=edit.max_attempts,
    )
    return await commands.answer(request, caller, command, edit, edit.reason, agreed)


@router.post(
    "/{job_id}/clone",
    status_code=201,
    responses=created(COPIED)
    | _ACCEPTED
    | may_fail(
        "job_not_found",
        "payload_erased",
        "payload_redacted",
        "idempotency_key_reused",
        "run_at_too_far",
        "reason_required",
        "not_accepted",
        "journal_diverged",
        "command_expired",
    ),
    summary="Copy a job",
)
async def clone_job(
    request: Request,
    caller: Admin,
    job_id: JobIdPath,
    agreed: AgreedToCreate,
    copy: Annotated[Copy, Depends(JsonBody(Copy, Copy()))],
) -> Response:
    """Create a job like this one, whatever its status; it knows by `cloned_from` where it comes from.

    Its secrets are copied, too; nobody sees them by that.
    """
    check_payload(copy.payload)
    asked = OneJob(job_id=JobId(str(job_id)))
    source = JobView.model_validate(await gateway_of(request).bus.ask_raw("jobs", "unredacted", asked))
    return await commands.answer(request, caller, _creation(source, copy), copy, copy.reason, agreed)


def _creation(source: JobView, copy: Copy) -> CreateJob:
    """The command that makes the copy.

    Raises:
        Refused: `payload_erased`.
    """
    payload = copy.payload if copy.payload is not None else source.payload
    if payload is None:
        raise Refused("payload_erased", "The payload of this job was erased: give the copy one of its own.")
    timeout_s = copy.timeout_s if copy.timeout_s is not None else source.timeout_s
    return CreateJob(
        job_id=JobId(new_id()),
        kind=source.kind,
        payload=payload,
        queue=copy.queue or source.queue,
        priority=copy.priority if copy.priority is not None else source.priority,
        run_at=copy.run_at,
        max_attempts=copy.max_attempts or source.max_attempts,
        timeout_ms=round(timeout_s * 1000) if timeout_s is not None else None,
        tags=copy.tags if copy.tags is not None else source.tags,
        unique_key=copy.unique_key,
        asset=source.asset,
        cloned_from=source.id,
    )
