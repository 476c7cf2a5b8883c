"""What a route's function is called with, worked out from its declaration without the framework's general machinery."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

from fastapi import Request
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from pydantic import BaseModel
from starlette.datastructures import Headers

_UNSUPPORTED: Final = {
    "cookie_params": "a cookie parameter",
    "body_params": "a body that the framework reads",
    "http_connection_param_name": "an HTTPConnection",
    "websocket_param_name": "a WebSocket",
    "response_param_name": "a Response to change",
    "background_tasks_param_name": "BackgroundTasks",
    "security_scopes_param_name": "SecurityScopes",
    "concurrency": "a limit of concurrency",
}
"""What none of our routes wants so; whoever wants it is served by the framework."""
_IMMUTABLE: Final = (str, int, float, type(None))

Errors = list[Any]


class Unsupported(TypeError):
    """The declaration asks for something that only the framework can work out; `str(error)` says what."""


class Parameters:
    """The parameters of one function, in the framework's order and with its errors.

    The framework resolves everything anew for each request, which cost more than all our own work for a command.
    """

    def __init__(self, dependant: Dependant) -> None:
        unsupported = [what for name, what in _UNSUPPORTED.items() if getattr(dependant, name)]
        if unsupported:
            raise Unsupported(f"{named(dependant.call)} wants {' and '.join(unsupported)}")
        self._request_name = dependant.request_param_name
        self._parts = [_Part(part) for part in dependant.dependencies]
        self._path = dependant.path_params
        self._query = dependant.query_params
        self._headers = dependant.header_params
        self._header_names = frozenset(_header_name(field, dependant.call) for field in self._headers)
        self._without_headers = _without_headers(self._headers)

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
        if dependant.call is None or not is_asynchronous(dependant.call):
            raise Unsupported(f"its dependency {named(dependant.call)} is no asynchronous function (nor a generator)")
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


def used_twice(dependant: Dependant) -> set[str]:
    """The names of dependencies that occur more than once: the framework calls them once for all."""
    calls = list(_calls(dependant))
    return {named(call) for call in calls if calls.count(call) > 1}


def is_asynchronous(call: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    if inspect.isclass(call):  # its instances may be; making one is not
        return False
    function = call if inspect.isroutine(call) else getattr(call, "__call__", None)  # noqa: B004 - its code is wanted
    return inspect.iscoroutinefunction(function)


def named(call: Callable[..., Any] | None) -> str:
    """What a callable is called in its source."""
    return str(getattr(call, "__qualname__", type(call).__qualname__))


def _calls(dependant: Dependant) -> Iterator[Callable[..., Any] | None]:
    for part in dependant.dependencies:
        yield part.call
        yield from _calls(part)


def _header_name(field: ModelField, call: Callable[..., Any] | None) -> bytes:
    """As it stands in a request.

    Raises:
        Unsupported: there are several.
    """
    wanted = field.field_info.annotation
    if any(inspect.isclass(kind) and issubclass(kind, BaseModel) for kind in (wanted, *get_args(wanted))):
        raise Unsupported(f"{named(call)} wants a model of several headers")
    if field.field_info.validation_alias not in {None, field.alias}:
        raise Unsupported(f"{named(call)} wants the header {field.name} by a validation_alias")
    return field.alias.lower().encode()


def _without_headers(headers: Sequence[ModelField]) -> dict[str, Any] | None:
    """The values if the request has none of them; none if that is an error, or if they cannot be shared."""
    values, errors = request_params_to_args(headers, Headers())
    if errors or not all(isinstance(value, _IMMUTABLE) for value in values.values()):
        return None
    return values


def _add(values: dict[str, Any], errors: Errors, found: tuple[Mapping[str, Any], list[Any]]) -> None:
    values.update(found[0])
    errors.extend(found[1])
