"""The API's documentation: what routes declare, what their dependencies imply, and an example of every refusal."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, create_model
from pydantic.json_schema import models_json_schema

from jobplane.contracts.jobs import JobErrorView, JobPage, JobView
from jobplane.gateway import problems
from jobplane.gateway.auth import Require, same_origin
from jobplane.gateway.bodies import JsonBody
from jobplane.gateway.examples import EXAMPLES
from jobplane.gateway.problem_examples import FACTS, SENTENCES
from jobplane.gateway.problems import FieldError, Problem
from jobplane.gateway.request_examples import REQUESTS

Responses = dict[int | str, dict[str, Any]]

_PROBLEM_JSON: Final = "application/problem+json"
_REF: Final = "#/components/schemas/{model}"
_EXAMPLE_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
_ALWAYS: Final = ("host_not_allowed", "unavailable")
_WITH_LOGIN: Final = ("unauthenticated", "forbidden", "rate_limited", "invalid_request")
_WITH_BODY: Final = ("payload_too_large", "unsupported_media_type", "invalid_request")
_WHEN_SENT: Final = ("cross_site", "payload_too_large")
_HEADERS: Final = {
    "ETag": "The job's version in quotes, for If-Match.",
    "Location": "Where to find it.",
    "Retry-After": "How many seconds to wait.",
    "Set-Cookie": "The session.",
}
SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of `POST /api/admin/token`: for scripts and the command line.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "jobplane_session",
        "description": "The cookie of `POST /api/admin/session`: for browsers; refuses what other sites send.",
    },
}
DESCRIPTION: Final = """\
Find, understand, retry, cancel, restore, edit and force-run background jobs, and know who did it.

**Commands** (`POST`, `PATCH`, `DELETE` on jobs) are kept durably before they are decided. `Idempotency-Key` makes
repeating them safe, `If-Match` refuses them when the job has changed, `Prefer: wait=N` or `respond-async` says how long
to wait for the outcome; after that you get `202` and a `status_url`.

**Errors** are problem+json (RFC 9457): branch on `code`, show `detail`, quote `trace_id`.

**Roles**: VIEWER may read, ADMIN may act, SUPERADMIN may do everything.
"""


def _without(model: type[BaseModel], name: str, *fields: str, **replaced: Any) -> type[BaseModel]:  # noqa: ANN401 - annotations
    kept: dict[str, Any] = {
        key: (replaced.get(key, field.annotation), field)
        for key, field in model.model_fields.items()
        if key not in fields
    }
    return create_model(name, __doc__=model.__doc__, **kept)


JobListError: Final = _without(JobErrorView, "JobListError", "stack")
JobListItem: Final = _without(JobView, "JobListItem", "payload", "result", error=JobListError | None)
JobListPage: Final = _without(JobPage, "JobListPage", items=list[JobListItem])  # type: ignore[valid-type]


def shows(
    model: type[BaseModel],
    status: int = 200,
    description: str = "Here it is.",
    *,
    headers: Iterable[str] = (),
    example: dict[str, Any] | None = None,
) -> Responses:
    """A successful answer; the example is the usual one of its model, unless another is given."""
    documented = {name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in headers}
    content = {"application/json": {"example": EXAMPLES[model.__name__] if example is None else example}}
    return {status: {"model": model, "description": description, "headers": documented, "content": content}}


def shows_nothing(description: str) -> Responses:
    """A successful answer without a body."""
    return {204: {"description": description}}


def shows_file() -> Responses:
    """A file."""
    return {
        200: {
            "description": "The file.",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        }
    }


def may_fail(*codes: str, **said: str) -> Responses:
    """Refusals that a route may answer beyond those that every route has; `said` are codes with their own sentences."""
    responses: Responses = {}
    for code in codes:
        _add(responses, code, SENTENCES[code], key=int)
    for code, sentence in said.items():
        _add(responses, code, sentence, key=int)
    return responses


def routes_of(routers: Iterable[APIRouter]) -> list[APIRoute]:
    """All routes, documented or not."""
    return [route for router in routers for route in router.routes if isinstance(route, APIRoute)]


def document(routers: Iterable[APIRouter], version: str) -> dict[str, Any]:
    """The OpenAPI document of all routes that are in the schema."""
    routes = [route for route in routes_of(routers) if route.include_in_schema]
    spec = get_openapi(
        title="Jobplane", version=version, description=DESCRIPTION, routes=routes, separate_input_output_schemas=False
    )
    schemas = spec.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    models: set[type[BaseModel]] = {Problem, FieldError}
    for route in routes:
        for method in route.methods or ():
            models |= _complete(spec["paths"][route.path_format][method.lower()], route)
    _, bodies = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    schemas |= bodies["$defs"]
    spec["components"]["securitySchemes"] = SECURITY_SCHEMES
    return spec


def _complete(operation: dict[str, Any], route: APIRoute) -> set[type[BaseModel]]:
    """Add what the dependencies of a route imply; gives the models of its body."""
    _tidy(operation)
    responses, codes = operation["responses"], list(_ALWAYS)
    described = responses.pop("422", None)
    if described is not None:
        codes.append("invalid_request")
        if _PROBLEM_JSON in described.get("content", {}):
            responses["422"] = described
    if "GET" not in (route.methods or ()):
        codes += _WHEN_SENT
    models: set[type[BaseModel]] = set()
    for call in calls_of(route.dependant):
        if isinstance(call, Require):
            operation["security"] = [{name: []} for name in SECURITY_SCHEMES]
            operation["description"] = f"{operation.get('description', '')}\n\nRole: {call.role} or higher.".strip()
            codes += _WITH_LOGIN
        elif isinstance(call, JsonBody):
            operation["requestBody"] = _body(call)
            models.add(call.model)
            codes += _WITH_BODY
        elif call is same_origin:
            operation["security"] = []
    for code in codes:
        _add(responses, code, SENTENCES[code], key=str)
    return models


def _body(body: JsonBody[Any]) -> dict[str, Any]:
    name = body.model.__name__
    examples = {summary: {"value": value} for summary, value in REQUESTS[name].items()}
    content = {"application/json": {"schema": {"$ref": _REF.format(model=name)}, "examples": examples}}
    return {"required": body.default is None, "content": content}


def _tidy(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        _never_null(parameter)
    for response in operation["responses"].values():
        _drop_empty(response)


def _drop_empty(response: dict[str, Any]) -> None:
    """The framework adds JSON of any shape to every successful answer, also to files and streams."""
    content = response.get("content", {})
    if content.get("application/json") == {"schema": {}} and len(content) > 1:
        del content["application/json"]


def _never_null(parameter: dict[str, Any]) -> None:
    """A parameter is text or left out; the null of its Python type cannot be sent."""
    schema = parameter["schema"]
    some = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(some) == 1:
        del schema["anyOf"]
        parameter["schema"] = some[0] | schema
    elif some:
        schema["anyOf"] = some


def calls_of(dependant: Dependant) -> Iterator[Any]:
    """Everything that a route depends on."""
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from calls_of(dependency)


def _add(responses: dict[Any, dict[str, Any]], code: str, sentence: str, *, key: type[int] | type[str]) -> None:
    """Document one refusal beside the others of its status."""
    status = problems.status_of(code)
    response = responses.setdefault(key(status.value), {"description": status.phrase, "content": {}})
    if status.value in {429, 503}:
        response["headers"] = {"Retry-After": {"description": _HEADERS["Retry-After"], "schema": {"type": "integer"}}}
    content = response["content"].setdefault(
        _PROBLEM_JSON, {"schema": {"$ref": _REF.format(model="Problem")}, "examples": {}}
    )
    content["examples"][code] = {
        "value": {
            "type": f"urn:jobplane:problem:{code}",
            "title": status.phrase,
            "status": status.value,
            "code": code,
            "detail": sentence,
            "trace_id": _EXAMPLE_TRACE,
            **FACTS.get(code, {}),
        }
    }
