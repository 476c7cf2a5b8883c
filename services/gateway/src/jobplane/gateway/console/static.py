"""The console's static files: their addresses carry a digest, so browsers keep them until they change."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER: Final = Path(__file__).parent.parent / "static"
SERVED: Final = ("console", "vendor")
"""Folders that need no login; the Swagger page's files are served with that page."""
_DIGITS: Final = 10
_KEEP: Final = "public, max-age=31536000, immutable"


class Kept(StaticFiles):
    """Static files; those asked for by their digest never change."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = _KEEP if b"v=" in scope["query_string"] else "no-cache"
        return response


@cache
def address(path: str) -> str:
    """The address of a static file, e.g. of `console/console.css`."""
    digest = hashlib.sha256((FOLDER / path).read_bytes()).hexdigest()
    return f"/static/{path}?v={digest[:_DIGITS]}"
