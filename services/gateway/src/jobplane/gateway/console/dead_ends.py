"""The pages at the end of wrong ways: what one may not do, and addresses that do not exist."""

from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from jobplane.gateway.console.failures import Screen
from jobplane.gateway.console.visitor import Visitor

router: Final = APIRouter(route_class=Screen)


@router.get("/admin/forbidden")
async def forbidden(_caller: Visitor) -> Response:
    """Where people are led who may not see what they asked for."""
    raise HTTPException(403, "Your role does not include it. Ask an administrator if you need it.")


@router.get("/admin/{path:path}")
async def not_found(_caller: Visitor, path: str) -> Response:  # noqa: ARG001 - any other path
    """Comes after all other screens."""
    raise HTTPException(404)
