"""The express lane: routes that are answered without the framework's layers between the web server and the route.

They are declared like all others, so the documentation, the checks and every answer are the same (tests compare them).
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jobplane.gateway.parameters import Parameters

_LANE: Final = "jobplane.lane"


class _Lane:
    """One route with its parameters prepared."""

    def __init__(self, route: APIRoute) -> None:
        self.route = route
        self._parameters = Parameters(route.dependant)

    async def answer(self, request: Request) -> Response:
        errors: list[object] = []
        values = await self._parameters.values(request, errors)
        if errors:
            raise RequestValidationError(errors)
        response: Response = await self.route.endpoint(**values)
        return response


class Express:
    """Serves `routes` itself, inside an `edge` of its own, and leaves all else to the application."""

    def __init__(self, app: FastAPI, routes: Iterable[APIRoute], edge: Callable[[ASGIApp], ASGIApp]) -> None:
        self._app = app
        self._edge = edge(self._serve)
        self._by_path: dict[tuple[str, str], _Lane] = {}
        self._by_pattern: dict[str, list[tuple[re.Pattern[str], _Lane]]] = {}
        for route in routes:
            lane = _Lane(route)
            for method in route.methods or ():
                if route.param_convertors:
                    self._by_pattern.setdefault(method, []).append((route.path_regex, lane))
                else:
                    self._by_path[method, route.path] = lane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and self._find(scope):
            await self._edge(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _find(self, scope: Scope) -> bool:
        method, path = scope["method"], scope["path"]
        lane = self._by_path.get((method, path))
        parameters: dict[str, str] = {}
        if lane is None:
            for pattern, candidate in self._by_pattern.get(method, ()):
                match = pattern.match(path)
                if match is not None:
                    lane, parameters = candidate, match.groupdict()
                    break
            else:
                return False
        scope["app"] = self._app
        scope["route"] = lane.route
        scope["path_params"] = parameters
        scope[_LANE] = lane
        return True

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        lane: _Lane = scope[_LANE]
        try:
            response = await lane.answer(request)
        except Exception as error:
            handler = self._handler_of(error)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)

    def _handler_of(self, error: Exception) -> Callable[[Request, Exception], Awaitable[Response]] | None:
        handlers: dict[Any, Any] = self._app.exception_handlers
        return next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
