"""The login screen, and logging out."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from jobplane.contracts.errors import JobplaneError, Refused, Unavailable
from jobplane.gateway import auth, login
from jobplane.gateway.console import rendering
from jobplane.gateway.console.failures import LOGIN, Failure, Screen, failure_of
from jobplane.gateway.console.filters import local_path
from jobplane.gateway.routes.session import clear_cookie, set_cookie
from jobplane.gateway.sessions import Credential
from jobplane.gateway.wiring import gateway_of

router: Final = APIRouter(route_class=Screen)

_Name = Annotated[str, Form(max_length=200)]
_Password = Annotated[str, Form(max_length=1024)]
_Path = Annotated[str, Form(alias="next", max_length=2000)]


@router.get(LOGIN)
async def form(request: Request) -> Response:
    """The form; whoever is logged in already goes on."""
    back = local_path(request.query_params.get("next"))
    if await auth.identify(request) is not None:
        return RedirectResponse(back, 303)
    return _form(request, back, logged_out="out" in request.query_params)


@router.post(LOGIN, dependencies=[Depends(auth.same_origin)])
async def log_in(request: Request, username: _Name = "", password: _Password = "", back: _Path = "") -> Response:
    """Open a session as `POST /api/admin/session` does, and go on to the page that was asked for."""
    if not username.strip() or not password:
        return _form(request, back, username, Failure(422, "Not logged in", "Give a name and its password."))
    try:
        opened = await login.log_in(request, Credential.SESSION, username, password)
    except (Refused, Unavailable) as error:
        return _form(request, back, username, _failure(error))
    await login.replace(request, opened)
    response = RedirectResponse(local_path(back), 303)
    set_cookie(gateway_of(request), response, opened)
    return response


@router.post("/admin/logout")
async def log_out(request: Request) -> Response:
    """End the session; without one there is nothing to end."""
    caller = await auth.identify(request)
    if caller is not None:
        await login.log_out(request, caller)
    response = RedirectResponse(f"{LOGIN}?out", 303)
    clear_cookie(gateway_of(request), response)
    return response


def _failure(error: JobplaneError) -> Failure:
    """Why nobody was logged in; a wrong name and a wrong password read the same."""
    usual = failure_of(error)
    if not isinstance(error, Refused):
        return replace(usual, title="Logging in does not work just now")
    match error.code:
        case "invalid_credentials":
            return replace(usual, title="Not logged in", detail="This name and password do not belong together.")
        case "rate_limited":
            wait = f"Wait {usual.retry_after_s} s" if usual.retry_after_s else "Wait a little"
            return replace(usual, title="Too many attempts", detail=f"{wait}, then try again.")
        case _:
            return usual


def _form(
    request: Request, back: str, username: str = "", failure: Failure | None = None, *, logged_out: bool = False
) -> Response:
    wait = failure.retry_after_s if failure else None
    values = {
        "failure": failure,
        "username": username,
        "back": local_path(back),
        "logged_out": logged_out,
        "environment": gateway_of(request).settings.environment,
    }
    return rendering.html(
        "login.html",
        values,
        status=failure.status if failure else 200,
        headers={"Retry-After": str(wait)} if wait is not None else {},
    )
