"""The edge of every request: span, Host, size of the body, security headers, metrics, and errors nobody expected."""

import functools
import time
from collections.abc import Callable
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobplane.chassis import metrics, tracing
from jobplane.contracts.envelope import TRACEPARENT
from jobplane.contracts.errors import Refused
from jobplane.gateway import bodies, cross_site, problems

log = structlog.get_logger()

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_ALWAYS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response that does not set them itself."""
_STRICT_TRANSPORT: Final = "max-age=31536000"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Orchestrators ask these by address; they tell nothing."""


class Edge:
    """Wraps the whole application (plain ASGI: it costs microseconds and does not touch streams)."""

    def __init__(
        self, app: ASGIApp, *, hosts: frozenset[str], secure: bool = False, larger_bodies: dict[str, int] | None = None
    ) -> None:
        self._app = app
        self._hosts = hosts
        always = _ALWAYS | ({"Strict-Transport-Security": _STRICT_TRANSPORT} if secure else {})
        self._always = [(name.lower().encode(), value.encode()) for name, value in always.items()]
        self._larger_bodies = larger_bodies or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        with tracing.span(
            f"HTTP {method}",
            traceparent=headers.get(TRACEPARENT),
            kind=tracing.Kind.SERVER,
            http_request_method=method,
        ) as span:
            answer = _Answer(send, self._always, span.trace_id)
            started = time.perf_counter()
            try:
                await self._serve(scope, headers, receive, answer)
            finally:
                route = _template(scope)
                span.set("http_route", route)
                span.set("http_response_status_code", answer.status)
                _counted(method, route, answer.status)()
                if not answer.is_stream:
                    _timed(method, route)(time.perf_counter() - started)

    async def _serve(self, scope: Scope, headers: Headers, receive: Receive, answer: "_Answer") -> None:
        limit = self._larger_bodies.get(scope["path"], bodies.MOST_BYTES)
        try:
            if scope["path"] not in _PROBES:
                cross_site.check_host(headers, self._hosts)
            declared = _check_length(headers, limit)
            # The server reads no more than was declared: only a body of unknown length has to be counted.
            await self._app(scope, receive if declared else _limited(receive, limit), answer)
        except Refused as refusal:
            await problems.refused(refusal)(scope, receive, answer)
        except Exception:
            log.exception("request.crashed", method=scope["method"], path=scope["path"])
            if answer.status:
                raise
            detail = "Something went wrong here, not with your request. Quote the trace id when you report it."
            await problems.response("internal_error", detail)(scope, receive, answer)


class _Answer:
    """The way back: adds headers and notes the status."""

    def __init__(self, send: Send, always: list[tuple[bytes, bytes]], trace_id: str) -> None:
        self._send = send
        self._always = always
        self._trace_id = trace_id
        self.status = 0
        self.is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", ())
            named = dict(given)
            self.is_stream = named.get(b"content-type", b"").startswith(b"text/event-stream")
            message["headers"] = [
                *given,
                *(header for header in self._always if header[0] not in named),
                (b"x-trace-id", self._trace_id.encode()),
            ]
        await self._send(message)


@functools.cache
def _counted(method: str, route: str, status: int) -> Callable[[], None]:
    """What counts a request; finding it costs more than counting."""
    return metrics.counter("jobplane_http_requests_total").labels(method, route, status).inc


@functools.cache
def _timed(method: str, route: str) -> Callable[[float], None]:
    return metrics.histogram("jobplane_http_request_seconds").labels(method, route).observe


def _check_length(headers: Headers, limit: int) -> bool:
    """Whether the length of the body is known before it is read."""
    length = headers.get("content-length")
    if length is None:
        return False
    if not length.isdecimal():
        raise Refused("malformed_request", "Content-Length is not a number.")
    if int(length) > limit:
        raise _too_large(limit)
    return True


def _limited(receive: Receive, limit: int) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise _too_large(limit)
        return message

    return limited


def _too_large(limit: int) -> Refused:
    return Refused("payload_too_large", f"The body is larger than {limit} bytes.", {"limit_bytes": limit})


def _template(scope: Scope) -> str:
    """The route's template: paths themselves would be without number."""
    route = scope.get("route")
    return getattr(route, "path_format", None) or getattr(route, "path", None) or "unmatched"
