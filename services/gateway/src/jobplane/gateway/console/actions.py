"""What people do to a job from a screen; the answer is a notice in the corner, and the screen refreshes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from jobplane.contracts.commands import AnyJobCommand, CancelJob, ForceRunJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.gateway import commands, problems
from jobplane.gateway.console import rendering, words
from jobplane.gateway.console.failures import Failure, Screen, toast
from jobplane.gateway.console.visitor import Operator
from jobplane.gateway.wiring import gateway_of

router: Final = APIRouter(route_class=Screen)
_NO_CONTROLS: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"
_CHANGED: Final = {"HX-Trigger": "jobs:changed"}


class Verb(StrEnum):
    """What can be done to a job."""

    RETRY = "retry"
    CANCEL = "cancel"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class _Words:
    """How an action reads."""

    done: str
    refused: str
    effect: str


_WORDS: Final = {
    Verb.RETRY: _Words("Retried", "Not retried", "is waiting to run again"),
    Verb.CANCEL: _Words("Cancelled", "Not cancelled", "will not run"),
    Verb.RUN: _Words("Runs next", "Not run", "is first in line, before all priorities"),
}
_STOPPING: Final = "will not be finished; its worker has been told to stop"


@router.post("/admin/jobs/{job_id}/{verb}")
async def act(
    request: Request,
    caller: Operator,
    job_id: UUID,
    verb: Verb,
    reason: Annotated[str, Form(max_length=1000, pattern=_NO_CONTROLS)] = "",
) -> Response:
    """Retry, cancel or run a job."""
    said = _WORDS[verb]
    command = _command(verb, JobId(str(job_id)))
    _, outcome = await commands.issue(gateway_of(request), caller, command, reason=reason.strip() or None)
    if outcome is None:
        return _notice("Accepted", "It will be decided as soon as the jobs service is free.", status=202)
    if outcome.status == "refused":
        refusal = commands.refusal(outcome)
        return toast(Failure(problems.status_of(refusal.code), said.refused, refusal.detail), _CHANGED)
    name = f"{outcome.job.kind} …{words.short_id(outcome.job.id)}" if outcome.job else "The job"
    effect = _STOPPING if outcome.job and outcome.job.stop else said.effect
    return _notice(said.done, f"{name} {effect}.")


def _notice(title: str, detail: str, status: int = 200) -> Response:
    values = {"kind": "done", "title": title, "detail": detail, "trace_id": None}
    return rendering.html("parts/toast.html", values, status=status, headers=_CHANGED)


def _command(verb: Verb, job_id: JobId) -> AnyJobCommand:
    match verb:
        case Verb.RETRY:
            return RetryJob(job_id=job_id)
        case Verb.CANCEL:
            return CancelJob(job_id=job_id)
        case Verb.RUN:
            return ForceRunJob(job_id=job_id)
