"""What may be done to a job: retry, cancel, run, restore, edit."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field, JsonValue
from starlette.responses import Response

from jobplane.contracts.commands import CancelJob, EditJob, ForceRunJob, RestoreJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.subjects import QUEUE_PATTERN
from jobplane.gateway import commands
from jobplane.gateway.answers import Instant, JobIdPath, Reason
from jobplane.gateway.auth import Admin
from jobplane.gateway.bodies import JsonBody, Wish
from jobplane.gateway.commands import Agreed
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.routes.jobs import check_payload
from jobplane.gateway.views import Accepted, Controlled

router = APIRouter(prefix="/api/admin/jobs", tags=["jobs"])


class Why(Wish):
    """Why something is done."""

    reason: Reason | None = Field(default=None, examples=["the disk is full no longer"])
    """In your words; kept in the audit log."""


WhyBody = Annotated[Why, Depends(JsonBody(Why, Why()))]


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


_CONTROLLED: Final = shows(Controlled, headers=("ETag",)) | shows(
    Accepted, 202, "Accepted, not decided yet.", headers=("Location", "Retry-After")
)
_ANY_COMMAND: Final = ("job_not_found", "version_conflict", "idempotency_key_reused", "not_accepted", "command_expired")


@router.post(
    "/{job_id}/retry",
    responses=_CONTROLLED | may_fail("job_not_failed", "unique_key_taken", *_ANY_COMMAND),
    summary="Retry a failed job",
)
async def retry_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Give a FAILED job a new set of attempts; its history stays."""
    return await commands.answer(request, caller, RetryJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.post(
    "/{job_id}/cancel", responses=_CONTROLLED | may_fail("job_finished", *_ANY_COMMAND), summary="Cancel a job"
)
async def cancel_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Stop a PENDING or RUNNING job. A running one is fenced at once; `stop` tells later what its worker did."""
    return await commands.answer(request, caller, CancelJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.post(
    "/{job_id}/run", responses=_CONTROLLED | may_fail("job_not_pending", *_ANY_COMMAND), summary="Run a job now"
)
async def run_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Make a PENDING job due now, before all priorities."""
    return await commands.answer(request, caller, ForceRunJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.delete(
    "/{job_id}",
    responses=_CONTROLLED | may_fail("job_finished", *_ANY_COMMAND),
    summary="Cancel a job (the same as POST …/cancel)",
)
async def delete_job(
    request: Request,
    caller: Admin,
    job_id: JobIdPath,
    agreed: Agreed,
    reason: Annotated[Reason | None, Query(description="Why; kept in the audit log.")] = None,
) -> Response:
    """Nothing is erased: the job is cancelled and its history stays."""
    command = CancelJob(job_id=JobId(str(job_id)))
    return await commands.answer(request, caller, command, Why(reason=reason), reason, agreed)


@router.post(
    "/{job_id}/restore",
    responses=_CONTROLLED | may_fail("job_not_cancelled", "stop_pending", "unique_key_taken", *_ANY_COMMAND),
    summary="Take a cancel back",
)
async def restore_job(request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, why: WhyBody) -> Response:
    """Make a CANCELLED job PENDING again, with its time and its attempts; the run that was cut off does not count.

    While `stop` is `pending` nobody knows what became of that run: refused until it is settled.
    """
    return await commands.answer(request, caller, RestoreJob(job_id=JobId(str(job_id))), why, why.reason, agreed)


@router.patch(
    "/{job_id}",
    responses=_CONTROLLED
    | may_fail(
        "job_not_editable",
        "nothing_to_change",
        "max_attempts_too_low",
        "run_at_too_far",
        "reason_required",
        *_ANY_COMMAND,
    ),
    summary="Edit a job",
)
async def edit_job(
    request: Request, caller: Admin, job_id: JobIdPath, agreed: Agreed, edit: Annotated[Edit, Depends(JsonBody(Edit))]
) -> Response:
    """Change what a PENDING or FAILED job is to do, where, when or how often; history keeps what was before.

    A failed job stays FAILED until it is retried; it then waits for the new `run_at`.
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
