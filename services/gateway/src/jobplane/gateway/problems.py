"""Refusals as HTTP: which code has which status, and the one shape of every error (RFC 9457 problem+json)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import to_json
from starlette.responses import Response

from jobplane.chassis import tracing
from jobplane.contracts.errors import Refused, Unavailable

STATUS: Final[Mapping[str, HTTPStatus]] = {
    "malformed_request": HTTPStatus.BAD_REQUEST,
    "unauthenticated": HTTPStatus.UNAUTHORIZED,
    "invalid_credentials": HTTPStatus.UNAUTHORIZED,
    "forbidden": HTTPStatus.FORBIDDEN,
    "cross_site": HTTPStatus.FORBIDDEN,
    "host_not_allowed": HTTPStatus.MISDIRECTED_REQUEST,
    "not_found": HTTPStatus.NOT_FOUND,
    "job_not_found": HTTPStatus.NOT_FOUND,
    "queue_not_found": HTTPStatus.NOT_FOUND,
    "command_not_found": HTTPStatus.NOT_FOUND,
    "error_group_not_found": HTTPStatus.NOT_FOUND,
    "asset_not_found": HTTPStatus.NOT_FOUND,
    "thumbnail_not_found": HTTPStatus.NOT_FOUND,
    "dead_letter_not_found": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "job_not_failed": HTTPStatus.CONFLICT,
    "job_not_pending": HTTPStatus.CONFLICT,
    "job_finished": HTTPStatus.CONFLICT,
    "job_not_cancelled": HTTPStatus.CONFLICT,
    "job_not_editable": HTTPStatus.CONFLICT,
    "payload_erased": HTTPStatus.CONFLICT,
    "job_archived": HTTPStatus.CONFLICT,
    "nothing_to_change": HTTPStatus.CONFLICT,
    "max_attempts_too_low": HTTPStatus.UNPROCESSABLE_ENTITY,
    "job_not_due": HTTPStatus.CONFLICT,
    "job_exists": HTTPStatus.CONFLICT,
    "unique_key_taken": HTTPStatus.CONFLICT,
    "not_a_token": HTTPStatus.CONFLICT,
    "stop_pending": HTTPStatus.CONFLICT,
    "already_paused": HTTPStatus.CONFLICT,
    "not_paused": HTTPStatus.CONFLICT,
    "command_expired": HTTPStatus.CONFLICT,
    "not_replayable": HTTPStatus.CONFLICT,
    "still_unreadable": HTTPStatus.CONFLICT,
    "replay_failed": HTTPStatus.CONFLICT,
    "version_conflict": HTTPStatus.PRECONDITION_FAILED,
    "payload_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported_media_type": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "invalid_request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid_cursor": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid_query": HTTPStatus.UNPROCESSABLE_ENTITY,
    "field_redacted": HTTPStatus.UNPROCESSABLE_ENTITY,
    "position_not_reached": HTTPStatus.UNPROCESSABLE_ENTITY,
    "as_of_in_the_future": HTTPStatus.UNPROCESSABLE_ENTITY,
    "sort_too_broad": HTTPStatus.UNPROCESSABLE_ENTITY,
    "invalid_command": HTTPStatus.UNPROCESSABLE_ENTITY,
    "idempotency_key_reused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "reason_required": HTTPStatus.UNPROCESSABLE_ENTITY,
    "run_at_too_far": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unknown_asset": HTTPStatus.UNPROCESSABLE_ENTITY,
    "operation_not_found": HTTPStatus.NOT_FOUND,
    "operation_not_planned": HTTPStatus.CONFLICT,
    "operation_not_running": HTTPStatus.CONFLICT,
    "operation_not_paused": HTTPStatus.CONFLICT,
    "operation_not_ended": HTTPStatus.CONFLICT,
    "operation_ended": HTTPStatus.CONFLICT,
    "operation_exists": HTTPStatus.CONFLICT,
    "not_your_plan": HTTPStatus.FORBIDDEN,
    "plan_expired": HTTPStatus.CONFLICT,
    "plan_drifted": HTTPStatus.CONFLICT,
    "plan_mismatch": HTTPStatus.CONFLICT,
    "plan_required": HTTPStatus.UNPROCESSABLE_ENTITY,
    "already_undone": HTTPStatus.CONFLICT,
    "plan_failed": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_undoable": HTTPStatus.CONFLICT,
    "nothing_to_undo": HTTPStatus.CONFLICT,
    "selector_required": HTTPStatus.UNPROCESSABLE_ENTITY,
    "selector_ambiguous": HTTPStatus.UNPROCESSABLE_ENTITY,
    "edit_required": HTTPStatus.UNPROCESSABLE_ENTITY,
    "edit_not_allowed": HTTPStatus.UNPROCESSABLE_ENTITY,
    "payload_redacted": HTTPStatus.UNPROCESSABLE_ENTITY,
    "payload_not_in_bulk": HTTPStatus.UNPROCESSABLE_ENTITY,
    "rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "internal_error": HTTPStatus.INTERNAL_SERVER_ERROR,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "not_accepted": HTTPStatus.SERVICE_UNAVAILABLE,
    "search_too_slow": HTTPStatus.SERVICE_UNAVAILABLE,
    "index_behind": HTTPStatus.SERVICE_UNAVAILABLE,
    "journal_diverged": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Every refusal code that a caller can meet; a code of the domain that is not here is a conflict with the state."""

_OWN_MEMBERS: Final = frozenset({"type", "title", "status", "code", "detail", "instance", "trace_id", "errors"})


class FieldError(BaseModel):
    """One thing that is wrong with a request; of what was sent, only parts of queries are repeated."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    loc: list[str | int]
    """Where: ``body``, ``query``, ``path`` or ``header``, then the names down to it."""
    msg: str
    """What is wrong."""
    position: int | None = None
    """In a query: how many characters stand before the part that is wrong."""
    length: int | None = None
    """How many characters it has."""
    token: str | None = None
    """The part itself."""


class Misread(Refused):
    """A request that can be read, but a part of it means nothing."""

    def __init__(self, code: str, detail: str, errors: Sequence[FieldError]) -> None:
        super().__init__(code, detail)
        self.errors = list(errors)


class Problem(BaseModel):
    """Why a request was not done (RFC 9457); refusals add the facts that the caller may need to go on."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    type: str
    """Identifies the kind of problem: ``urn:jobplane:problem:<code>``."""
    title: str
    """The status in words."""
    status: int
    """The HTTP status."""
    code: str
    """The fact that stands in the way, for programs."""
    detail: str
    """One sentence for people that says what to do."""
    trace_id: str
    """W3C trace of this request: quote it when you report a problem."""
    errors: list[FieldError] = Field(default_factory=list)
    """What is wrong with the request, field by field (`invalid_request`) or part by part (`invalid_query`)."""


def status_of(code: str) -> HTTPStatus:
    """The HTTP status of a refusal code."""
    return STATUS.get(code, HTTPStatus.CONFLICT)


def response(
    code: str,
    detail: str,
    *,
    facts: Mapping[str, JsonValue] | None = None,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as a response. Facts whose names mean something else in a problem get the prefix ``job_``."""
    status = status_of(code)
    body: dict[str, object] = {
        "type": f"urn:jobplane:problem:{code}",
        "title": status.phrase,
        "status": status.value,
        "code": code,
        "detail": detail,
        "trace_id": tracing.current_trace_id(),
    }
    if errors:
        body["errors"] = [error.model_dump(exclude_none=True) for error in errors]
    for name, fact in (facts or {}).items():
        body[f"job_{name}" if name in _OWN_MEMBERS else name] = fact
    return Response(to_json(body), status.value, headers, media_type="application/problem+json")


def refused(error: Refused) -> Response:
    """The response to a refusal; `retry_after_s` among its facts becomes the header."""
    retry_after = error.facts.get("retry_after_s")
    headers = {"Retry-After": str(retry_after)} if isinstance(retry_after, int) else {}
    if status_of(error.code) is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="jobplane"'
    errors = error.errors if isinstance(error, Misread) else ()
    return response(error.code, error.detail, facts=error.facts, errors=errors, headers=headers)


def unavailable(error: Unavailable, facts: Mapping[str, JsonValue] | None = None) -> Response:
    """The response when a part we need is away."""
    code = error.code if status_of(error.code) is HTTPStatus.SERVICE_UNAVAILABLE else "unavailable"
    return response(code, error.detail, facts=facts, headers={"Retry-After": str(error.retry_after_s)})
