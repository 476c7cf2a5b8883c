"""What a route's function is called with, worked out from its declaration without the framework's general machinery."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args

_UNSUPPORTED: Final = (
    "cookie_params",
    "body_params",
    "http_connection_param_name",
    "websocket_param_name",
    "response_param_name",
    "background_tasks_param_name",
    "security_scopes_param_name",
)
"""What none of our routes wants so; whoever wants it is served by the framework."""

Errors = list[Any]


class Unsupported(TypeError):
    """The declaration asks for something that only the framework can work out."""


class Parameters:
    """The parameters of one function, in the framework's order and with its errors.

    The framework resolves everything anew for each request, which cost more than all our own work for a command.
    """

    def __init__(self, dependant: Dependant) -> None:
        unsupported = [name for name in _UNSUPPORTED if getattr(dependant, name)]
        if unsupported or dependant.concurrency is not None:
            msg = f"{dependant.call} has {', '.join(unsupported) or 'a limit of its own'}"
            raise Unsupported(msg)
        self._request_name = dependant.request_param_name
        self._parts = [_Part(part) for part in dependant.dependencies]
        self._path = dependant.path_params
        self._query = dependant.query_params
        self._headers = dependant.header_params
        self._header_names = frozenset(field.alias.lower().encode() for field in self._headers)
        required = any(field.field_info.is_required() for field in self._headers)
        self._without_headers = None if required else {field.name: field.default for field in self._headers}

    async def values(self, request: Request, errors: Errors) -> dict[str, Any]:
        """Values by name; what is wrong with the request is added to `errors`, and then values may be missing.

        Raises:
            Refused, RequestValidationError: as a dependency does.
        """
        values: dict[str, Any] = {}
        for part in self._parts:
            await part.add_to(values, request, errors)
        if self._path:
            _add(values, errors, request_params_to_args(self._path, request.path_params))
        if self._query:
            _add(values, errors, request_params_to_args(self._query, request.query_params))
        if self._headers:
            self._add_headers(values, request, errors)
        if self._request_name is not None:
            values[self._request_name] = request
        return values

    def _add_headers(self, values: dict[str, Any], request: Request, errors: Errors) -> None:
        """Most requests have none of them: that is seen at a glance."""
        if self._without_headers is not None and self._header_names.isdisjoint(
            [name for name, _ in request.scope["headers"]]
        ):
            values.update(self._without_headers)
        else:
            _add(values, errors, request_params_to_args(self._headers, request.headers))


class _Part:
    """A dependency: an asynchronous callable with parameters of its own."""

    def __init__(self, dependant: Dependant) -> None:
        if dependant.call is None or not _is_asynchronous(dependant.call):
            msg = f"{dependant.call} is no asynchronous function"
            raise Unsupported(msg)
        self._call: Callable[..., Awaitable[Any]] = dependant.call
        self._name = dependant.name
        self._parameters = Parameters(dependant)

    async def add_to(self, values: dict[str, Any], request: Request, errors: Errors) -> None:
        found = len(errors)
        given = await self._parameters.values(request, errors)
        if len(errors) > found:
            return
        value = await self._call(**given)
        if self._name is not None:
            values[self._name] = value


def _is_asynchronous(call: Callable[..., Any]) -> bool:
    function = call if inspect.isroutine(call) else getattr(call, "__call__", None)  # noqa: B004 - its code is wanted
    return inspect.iscoroutinefunction(function)


def _add(values: dict[str, Any], errors: Errors, found: tuple[Mapping[str, Any], list[Any]]) -> None:
    values.update(found[0])
    errors.extend(found[1])
