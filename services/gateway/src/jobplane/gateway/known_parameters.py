"""Parameters of a query that nobody declared are refused: a filter that is mistyped must not mean everything."""

from collections.abc import Mapping
from typing import Any, Final, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from jobplane.gateway import sentences

UNKNOWN: Final = "unknown_parameter"
REPEATED: Final = "repeated_parameter"
_SHOWN: Final = 100


def check(request: Request) -> None:
    """Look at the names in a request's query.

    Raises:
        RequestValidationError: there is no such parameter, or it stands more than once and takes one value.
    """
    if not request.scope["query_string"]:
        return
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = _declared(route)
    errors: list[dict[str, Any]] = []
    for name in request.query_params:
        if name not in known:
            errors.append({"loc": ("query", name[:_SHOWN]), "msg": _unknown(name, known), "type": UNKNOWN})
        elif not known[name] and len(request.query_params.getlist(name)) > 1:
            errors.append({"loc": ("query", name), "msg": "say it once: it takes one value", "type": REPEATED})
    if errors:
        raise RequestValidationError(errors)


def _declared(route: APIRoute) -> Mapping[str, bool]:
    """By name: whether a parameter may stand more than once."""
    return dict(_names(route.dependant))


def _names(dependant: Dependant) -> list[tuple[str, bool]]:
    own = [(field.alias, get_origin(field.field_info.annotation) is list) for field in dependant.query_params]
    return own + [pair for part in dependant.dependencies for pair in _names(part)]


def _unknown(name: str, known: Mapping[str, bool]) -> str:
    return sentences.no_such("parameter", name, known) if known else "nothing can be asked here"
