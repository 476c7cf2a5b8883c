"""The session of a browser: who am I, log in, log out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field, SecretStr
from starlette.responses import Response

from jobplane.contracts.actors import ActorKind
from jobplane.gateway import auth, login
from jobplane.gateway.answers import ready
from jobplane.gateway.auth import Caller, Viewer
from jobplane.gateway.bodies import JsonBody, Wish
from jobplane.gateway.login import Opened
from jobplane.gateway.openapi import may_fail, shows, shows_nothing
from jobplane.gateway.sessions import Credential
from jobplane.gateway.views import Me
from jobplane.gateway.wiring import Gateway, gateway_of

router = APIRouter(prefix="/api/admin/session", tags=["login"])


class Login(Wish):
    """A name and its password."""

    username: str = Field(min_length=1, max_length=200, examples=["admin"])
    """Name of the account."""
    password: SecretStr = Field(min_length=1, max_length=1024)
    """Its password."""


LoginBody = Annotated[Login, Depends(JsonBody(Login))]


@router.get("", responses=shows(Me), summary="Ask who is logged in")
async def who_am_i(caller: Viewer) -> Response:
    """The account behind the cookie or bearer of this request."""
    return ready(_me(caller))


@router.post(
    "",
    dependencies=[Depends(auth.same_origin)],
    responses=shows(Me, 200, "Logged in; the cookie is set.", headers=("Set-Cookie",))
    | may_fail("invalid_credentials", "rate_limited", "cross_site"),
    summary="Log in a browser",
)
async def log_in(request: Request, body: LoginBody) -> Response:
    """Open a session. It lives in an HttpOnly cookie that only this site sends."""
    opened = await login.log_in(request, Credential.SESSION, body.username, body.password.get_secret_value())
    await login.replace(request, opened)
    account = opened.account
    me = Me(id=account.id, name=account.name, role=account.role, kind=ActorKind.USER, expires_at=opened.expires_at)
    response = ready(me)
    set_cookie(gateway_of(request), response, opened)
    return response


@router.delete("", status_code=204, responses=shows_nothing("Logged out."), summary="Log out")
async def log_out(request: Request, caller: Viewer) -> Response:
    """End the session; live streams that it opened end within seconds."""
    await login.log_out(request, caller)
    response = Response(status_code=204)
    clear_cookie(gateway_of(request), response)
    return response


def set_cookie(gateway: Gateway, response: Response, opened: Opened) -> None:
    """Give the browser its new session."""
    secure = gateway.settings.secure
    response.set_cookie(
        auth.cookie_name(secure=secure),
        opened.secret,
        max_age=round(gateway.settings.session_hours * 3600),
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def clear_cookie(gateway: Gateway, response: Response) -> None:
    """Take the session from the browser."""
    secure = gateway.settings.secure
    response.delete_cookie(auth.cookie_name(secure=secure), path="/", secure=secure, httponly=True, samesite="strict")


def _me(caller: Caller) -> Me:
    known = caller.known
    return Me(
        id=known.account_id, name=known.name, role=known.role, kind=known.credential.kind, expires_at=known.expires_at
    )
