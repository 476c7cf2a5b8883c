"""The web application: its routes, and the one shape of all its errors."""

import functools
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from jobplane.chassis import database
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.gateway import assets as asset_files
from jobplane.gateway import console, problems, sentences
from jobplane.gateway.console import upload
from jobplane.gateway.control_bus import NotAccepted
from jobplane.gateway.edge import Edge
from jobplane.gateway.express import Express
from jobplane.gateway.openapi import routes_of
from jobplane.gateway.problems import FieldError
from jobplane.gateway.routes import ROUTERS, control, docs, history, jobs
from jobplane.gateway.wiring import Gateway

_CODE_OF_STATUS: Final = {
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}
_MOST_ERRORS: Final = 50
_NO_TELEMETRY: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
"""The edge makes the spans and metrics of a request, as the chassis does everywhere."""


def create_app(gateway: Gateway) -> ASGIApp:
    """The application that serves a gateway's parts; starting and stopping them is not its business."""
    edge = functools.partial(
        Edge,
        hosts=gateway.settings.hosts,
        secure=gateway.settings.secure,
        larger_bodies={
            "/api/admin/assets": asset_files.MULTIPART_BYTES,
            upload.PATH: asset_files.SEVERAL_FILES_BYTES,
        },
    )
    app = _framework_app(gateway)
    app.add_middleware(edge)
    return Express(app, routes_of([jobs.router, history.router, control.router]), edge)


def _framework_app(gateway: Gateway) -> FastAPI:
    app = FastAPI(
        title="Jobplane",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.state.gateway = gateway
    app.state.bus = gateway.bus
    app.state.routers, app.state.openapi = ROUTERS, None
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/api/docs/assets", docs.assets())
    console.mount(app)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(docs.LoginFirst, docs.to_login)
    app.add_exception_handler(Unavailable, _on_unavailable)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(DatabaseError, _on_database)
    app.add_exception_handler(PoolTimeout, _on_database)
    return app


async def _on_refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return problems.refused(error)


async def _on_unavailable(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Unavailable):
        raise error
    return problems.unavailable(error, error.facts if isinstance(error, NotAccepted) else None)


async def _on_database(_request: Request, error: Exception) -> Response:
    if not database.is_away(error):
        raise error
    return problems.unavailable(Unavailable("The database is away just now. Try again in a moment."))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [FieldError(loc=list(item["loc"]), msg=sentences.told(item)) for item in error.errors()[:_MOST_ERRORS]]
    first = errors[0]
    return problems.response("invalid_request", sentences.summary(first.loc, first.msg), errors=errors)


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and (allowed := methods_of(request.url.path)):
        headers["Allow"] = ", ".join(allowed)
    code = _CODE_OF_STATUS.get(error.status_code, "malformed_request")
    detail = {
        "not_found": "There is nothing at this address.",
        "method_not_allowed": f"{request.method} is not possible here.",
    }.get(code, str(error.detail))
    return problems.response(code, detail, headers=headers)


def methods_of(path: str) -> list[str]:
    """The methods of an address of the API; the framework only tells those of the first route that it finds."""
    routes = [route for route in routes_of(ROUTERS) if route.path_regex.match(path)]
    return sorted({method for route in routes for method in route.methods or ()})
