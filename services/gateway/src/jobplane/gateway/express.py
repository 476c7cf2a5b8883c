"""The express lane: routes that are answered without the framework's layers between the web server and the route.

They are declared like all others, so the documentation, the checks and every answer are the same (tests compare them).
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jobplane.gateway.parameters import Parameters, Unsupported, is_asynchronous, used_twice

_LANE: Final = "jobplane.lane"


class _Lane:
    """One route with its parameters prepared.

    Raises:
        Unsupported: the framework would answer it in another way than this.
    """

    def __init__(self, route: APIRoute) -> None:
        try:
            _check(route)
            self._parameters = Parameters(route.dependant)
        except Unsupported as error:
            methods = ", ".join(sorted(route.methods or ()))
            raise Unsupported(f"{methods} {route.path} cannot be served by the express lane: {error}.") from None
        self.route = route

    async def answer(self, request: Request) -> Response:
        errors: list[object] = []
        values = await self._parameters.values(request, errors)
        if errors:
            raise RequestValidationError(errors)
        response: Response = await self.route.endpoint(**values)
        return response


def _check(route: APIRoute) -> None:
    """Refuse a route whose declaration asks for more than to call its function and send what it gives.

    Raises:
        Unsupported: what it asks for.
    """
    returned = inspect.signature(route.endpoint, eval_str=True).return_annotation
    twice = used_twice(route.dependant)
    obstacles = {
        f"it is a {type(route).__name__}": type(route) is not APIRoute,
        "its function is not asynchronous": not is_asynchronous(route.endpoint),
        "its function is not declared to give a Response": not (
            inspect.isclass(returned) and issubclass(returned, Response)
        ),
        "it has a response_model": route.response_model is not None,
        "it has a limit of its own for bodies": route.max_body_size is not None,
        f"it uses {', '.join(sorted(twice))} more than once": bool(twice),
    }
    for obstacle, there in obstacles.items():
        if there:
            raise Unsupported(obstacle)


class Express:
    """Serves `routes` itself, inside an `edge` of its own, and leaves all else to the application.

    Raises:
        Unsupported: one of them is none for it, or comes behind another that matches all of its requests.
    """

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
                    self._refuse_hidden(method, route.path)
                    self._by_path[method, route.path] = lane

    def _refuse_hidden(self, method: str, path: str) -> None:
        """Exact paths are looked up first here; the framework takes what was declared first."""
        for pattern, lane in self._by_pattern.get(method, ()):
            if pattern.match(path):
                hiding = f"{lane.route.path}, which is declared before it, matches it too"
                raise Unsupported(f"{method} {path} cannot be served by the express lane: {hiding}.")

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
