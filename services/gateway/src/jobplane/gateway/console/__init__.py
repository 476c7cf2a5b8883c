"""The console: server-rendered screens over the same functions as the REST API, with no rule of its own."""

from fastapi import FastAPI

from jobplane.gateway.console import actions, audit, dead_ends, jobs, login, static, upload


def mount(app: FastAPI) -> None:
    """Add every screen; `dead_ends` come last, for they take what no other takes."""
    for folder in static.SERVED:
        app.mount(f"/static/{folder}", static.Kept(directory=static.FOLDER / folder))
    for part in (login, jobs, upload, actions, audit, dead_ends):
        app.include_router(part.router, include_in_schema=False)
