"""The console: server-rendered screens over the same functions as the REST API, with no rule of its own."""

from fastapi import FastAPI

from jobplane.gateway.console import actions, audit, jobs, login, not_found, static, upload


def mount(app: FastAPI) -> None:
    """Add every screen; `not_found` comes last, for it takes what no other takes."""
    for folder in static.SERVED:
        app.mount(f"/static/{folder}", static.Kept(directory=static.FOLDER / folder))
    for part in (login, jobs, upload, actions, audit, not_found):
        app.include_router(part.router, include_in_schema=False)
