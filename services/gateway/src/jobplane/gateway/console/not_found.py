"""The page for addresses that the console does not have."""

from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import Response

from jobplane.gateway.console.failures import Screen
from jobplane.gateway.console.visitor import Visitor

router: Final = APIRouter(route_class=Screen)


@router.get("/admin/{path:path}")
async def not_found(_caller: Visitor, path: str) -> Response:  # noqa: ARG001 - any other path
    """Comes after all other screens."""
    raise HTTPException(404)
