"""What is secret in a job, for those who may see it and say why: recorded before anything is shown."""

from fastapi import APIRouter, Request
from pydantic import AwareDatetime
from starlette.responses import Response

from jobplane.chassis.ids import new_id
from jobplane.contracts import queries
from jobplane.contracts.admin_events import JobRevealed
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobView
from jobplane.gateway.admin_log import Entry
from jobplane.gateway.answers import JobIdPath, ready
from jobplane.gateway.auth import Admin, record_refusal
from jobplane.gateway.openapi import may_fail, shows
from jobplane.gateway.routes.control import WhyBody
from jobplane.gateway.routes.history import NOT_YET, AsOf
from jobplane.gateway.wiring import gateway_of

router = APIRouter(prefix="/api/admin/jobs", tags=["jobs"])


@router.post(
    "/{job_id}/reveal",
    responses=shows(JobView, headers=("ETag",)) | may_fail("job_not_found", "reason_required", *NOT_YET),
    summary="See the secrets of a job",
)
async def reveal_job(request: Request, caller: Admin, job_id: JobIdPath, why: WhyBody, as_of: AsOf = None) -> Response:
    """The job, now or then, as its worker gets it: nothing in payload, result and error is redacted.

    Needs a reason. The audit log keeps who saw it and why, before it is shown.
    """
    if why.reason is None:
        await record_refusal(request, "reason_required", caller.actor)
        detail = "Nobody sees secrets without a reason: say in your words why, it is kept in the audit log."
        raise Refused("reason_required", detail, {"job_id": str(job_id)})
    position = as_of if isinstance(as_of, int) else None
    at: AwareDatetime | None = None if isinstance(as_of, int) else as_of
    asked = queries.OneJob(job_id=JobId(str(job_id)), at=at, position=position)
    gateway = gateway_of(request)
    job = await gateway.bus.ask_raw("jobs", "unredacted", asked)
    event = JobRevealed(job_id=JobId(job["id"]), job_version=job["version"])
    async with gateway.log.journal.transaction() as tx:
        await gateway.log.append(tx, Entry(event, caller.actor, new_id(), reason=why.reason))
    return ready(job, {"ETag": f'"{job["version"]}"'})
