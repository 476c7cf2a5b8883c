"""Bearer tokens for the command line, scripts and tests; the console never sees one."""

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from jobplane.contracts.errors import Refused
from jobplane.gateway import auth, login
from jobplane.gateway.answers import ready
from jobplane.gateway.auth import Viewer
from jobplane.gateway.openapi import may_fail, shows, shows_nothing
from jobplane.gateway.routes.session import LoginBody
from jobplane.gateway.sessions import Credential
from jobplane.gateway.views import Bearer

router = APIRouter(prefix="/api/admin/token", tags=["login"])


@router.post(
    "",
    dependencies=[Depends(auth.same_origin)],
    responses=shows(Bearer, 200, "A new token.") | may_fail("invalid_credentials", "rate_limited", "cross_site"),
    summary="Get a bearer token",
)
async def get_token(request: Request, body: LoginBody) -> Response:
    """A short-lived bearer: send it as `Authorization: Bearer <token>`."""
    opened = await login.log_in(request, Credential.TOKEN, body.username, body.password.get_secret_value())
    return ready(Bearer(token=opened.secret, expires_at=opened.expires_at))


@router.delete(
    "", status_code=204, responses=shows_nothing("Ended.") | may_fail("not_a_token"), summary="End this bearer token"
)
async def end_token(request: Request, caller: Viewer) -> Response:
    """End the token that this request shows."""
    if caller.known.credential is not Credential.TOKEN:
        raise Refused("not_a_token", "This request shows a session, not a token. DELETE /api/admin/session ends it.")
    await login.log_out(request, caller)
    return Response(status_code=204)
