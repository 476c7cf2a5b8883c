"""Swagger and the OpenAPI document, for admins only."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from pydantic_core import to_json
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from jobplane.contracts.actors import Role
from jobplane.contracts.errors import JobplaneError
from jobplane.gateway import openapi
from jobplane.gateway.auth import Admin, Caller, Require, identify

router = APIRouter(prefix="/api/docs", include_in_schema=False)

ASSETS: Final = Path(__file__).parent.parent / "static" / "swagger"
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Jobplane API</title>
<link rel="icon" href="/api/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/api/docs/assets/swagger-ui.css">
<script src="/api/docs/assets/swagger-ui-bundle.js" defer></script>
<script src="/api/docs/assets/init.js" defer></script>
</head>
<body>
<div id="swagger" data-openapi="/api/docs/openapi.json"><noscript>Swagger needs JavaScript; the document itself is at
<a href="/api/docs/openapi.json">/api/docs/openapi.json</a>.</noscript></div>
</body>
</html>
"""
# Swagger UI sets style attributes and data: images of its own; scripts stay ours alone.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class LoginFirst(JobplaneError):
    """Somebody opens a page in a browser without being logged in: nothing that an audit log should hold."""


class AdminPage(Require):
    """Lets admins through; browsers of people who are not logged in are sent to the login page."""

    async def __call__(self, request: Request) -> Caller:
        """The caller.

        Raises:
            LoginFirst: a browser asks for nobody. Refused: as for any route.
        """
        if "text/html" in request.headers.get("accept", "") and await identify(request) is None:
            raise LoginFirst
        return await super().__call__(request)


@router.get("/swagger")
async def swagger(caller: Annotated[Caller, Depends(AdminPage(Role.ADMIN))]) -> Response:  # noqa: ARG001 - declares who may call
    """The API, to read and to try."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


async def to_login(request: Request, _error: Exception) -> Response:
    """The way to the login and back."""
    return RedirectResponse(f"/admin/login?next={quote(request.url.path)}", 303)


@router.get("/openapi.json")
async def openapi_json(request: Request, caller: Admin) -> Response:  # noqa: ARG001 - declares who may call
    """The OpenAPI document."""
    state = request.app.state
    if state.openapi is None:
        state.openapi = to_json(openapi.document(state.routers, version("jobplane-gateway")))
    return Response(state.openapi, media_type="application/json")


def assets() -> StaticFiles:
    """Swagger's own files, as its makers ship them."""
    return StaticFiles(directory=ASSETS)
