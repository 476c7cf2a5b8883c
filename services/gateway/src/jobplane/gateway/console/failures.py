"""What people see when something cannot be done: a page, a banner above stale rows, a toast, or one plain sentence."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from jobplane.chassis import tracing
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.gateway import problems
from jobplane.gateway.auth import Caller
from jobplane.gateway.console import rendering
from jobplane.gateway.console.visitor import LoginNeeded, frame, is_partial
from jobplane.gateway.wiring import gateway_of

log = structlog.get_logger()

LOGIN: Final = "/admin/login"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something was not done, in words for people."""

    status: int
    title: str
    detail: str
    symbol: str = "circle-alert"
    retry_after_s: int | None = None

    @property
    def passing(self) -> bool:
        """Whether it will work again without anybody doing anything else."""
        return self.status == problems.STATUS["unavailable"]


_TITLES: Final = {
    401: ("Log in again", "circle-alert"),
    403: ("This is not allowed for you", "triangle-alert"),
    404: ("This page does not exist", "search-x"),
    409: ("That is not possible now", "triangle-alert"),
    413: ("That is too large", "triangle-alert"),
    422: ("This request cannot be understood", "triangle-alert"),
    429: ("Too much at once", "triangle-alert"),
    503: ("A part of the platform does not answer", "unplug"),
}


class Screen(APIRoute):
    """A route of the console: whatever goes wrong in it is shown to people, not to programs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with every failure turned into something to look at."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                response = await handle(request)
            except LoginNeeded:
                return to_login(request)
            except (Refused, Unavailable, RequestValidationError, HTTPException) as error:
                return show(request, failure_of(error))
            except Exception:
                log.exception("screen.failed", path=request.url.path)
                return show(request, failure_of(None))
            return response

        return shown


def failure_of(error: Exception | None) -> Failure:
    """An error in words; none stands for a fault of our own."""
    match error:
        case Refused():
            return _refused(error)
        case Unavailable():
            return _failure(503, error.detail, wait=error.retry_after_s)
        case RequestValidationError():
            return _failure(422, "Something in the address or the form is not as it should be.")
        case HTTPException(status_code=404):
            return _failure(404, "The address may be mistyped, or what it showed is gone.")
        case HTTPException():
            return _failure(error.status_code, str(error.detail))
        case _:
            return _failure(500, "This is our fault. If it stays, tell whoever runs this server the trace below.")


def _refused(error: Refused) -> Failure:
    retry_after_s = error.facts.get("retry_after_s")
    wait = retry_after_s if isinstance(retry_after_s, int) else None
    status = problems.status_of(error.code)
    match error.code:
        case "job_not_found":
            return _failure(status, error.detail, title="There is no such job", wait=wait)
        case "forbidden":
            detail = f"It needs the role {error.facts.get('needs')}; you are logged in as {error.facts.get('role')}."
            return _failure(status, detail)
        case _:
            return _failure(status, error.detail, wait=wait)


def _failure(status: int, detail: str, *, title: str | None = None, wait: int | None = None) -> Failure:
    usual, symbol = _TITLES.get(status, ("Something went wrong", "circle-alert"))
    return Failure(status, title or usual, detail, symbol, wait)


def show(request: Request, failure: Failure) -> Response:
    """A failure in the form that fits the request."""
    headers = {"Retry-After": str(failure.retry_after_s)} if failure.retry_after_s is not None else {}
    if request.headers.get("accept") == "text/plain":
        return PlainTextResponse(failure.detail, failure.status, headers)
    if is_partial(request):
        return _part(request, failure, headers)
    if failure.status == problems.STATUS["unauthenticated"]:
        return to_login(request)
    caller: Caller | None = getattr(request.state, "caller", None)
    around = frame(request, caller) if caller else {"environment": gateway_of(request).settings.environment}
    again = request.url.path if failure.passing and request.method == "GET" else None
    values = around | {"failure": failure, "again": again, "trace_id": tracing.current_trace_id()}
    template = "error.html" if caller else "error_bare.html"
    return rendering.html(template, values, status=failure.status, headers=headers)


def _part(request: Request, failure: Failure, headers: dict[str, str]) -> Response:
    if failure.status == problems.STATUS["unauthenticated"]:
        return to_login(request)
    if request.method == "GET" and failure.passing:
        aim = {"HX-Retarget": "#banner", "HX-Reswap": "innerHTML"}
        return rendering.html("parts/banner.html", {"failure": failure}, status=failure.status, headers=headers | aim)
    return toast(failure, headers)


def toast(failure: Failure, headers: Mapping[str, str]) -> Response:
    """A failure as a notice in the corner."""
    ours = failure.status >= problems.STATUS["internal_error"]
    aim = {"HX-Retarget": "#toasts", "HX-Reswap": "beforeend"}
    values = {
        "kind": "failed" if ours else "refused",
        "title": failure.title,
        "detail": failure.detail,
        "trace_id": tracing.current_trace_id() if ours else None,
    }
    return rendering.html("parts/toast.html", values, status=failure.status, headers={**headers, **aim})


def to_login(request: Request) -> Response:
    """The way to the login and back to the page that was shown."""
    if is_partial(request):
        shown = request.headers.get("hx-current-url", "")
        _, _, path = shown.partition("://")
        _, slash, rest = path.partition("/")
        return Response(status_code=401, headers={"HX-Redirect": _login(slash + rest)})
    if request.headers.get("accept") == "text/plain":
        return PlainTextResponse("Log in again.", 401)
    path = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
        # A link elsewhere led here, so the browser held the session's cookie back: asked by our own page, it sends it.
        return rendering.html("again.html", {"path": path})
    return RedirectResponse(_login(path if request.method == "GET" else ""), 303)


def _login(back: str) -> str:
    return f"{LOGIN}?{urlencode({'next': back})}" if back and back != "/admin" else LOGIN
