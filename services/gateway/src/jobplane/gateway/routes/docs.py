"""Swagger and the OpenAPI document, for admins only."""

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from jobplane.contracts.actors import Role
from jobplane.gateway import openapi
from jobplane.gateway.auth import Admin, Require, identify

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
_admin: Final = Require(Role.ADMIN)


@router.get("/swagger")
async def swagger(request: Request) -> Response:
    """The API, to read and to try; people who are not logged in are sent to the login page."""
    if "text/html" in request.headers.get("accept", "") and await identify(request) is None:
        return RedirectResponse(f"/admin/login?next={quote(request.url.path)}", 303)
    await _admin(request)
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/openapi.json")
async def openapi_json(request: Request, caller: Admin) -> Response:  # noqa: ARG001 - declares who may call
    """The OpenAPI document."""
    return Response(_document(request.app.state.routers), media_type="application/json")


@cache
def _document(routers: tuple[APIRouter, ...]) -> bytes:
    return to_json(openapi.document(routers, version("jobplane-gateway")))


def assets() -> StaticFiles:
    """Swagger's own files, as its makers ship them."""
    return StaticFiles(directory=ASSETS)
