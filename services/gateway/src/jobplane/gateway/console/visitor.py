"""Who looks at a screen: people without a session are led to the login instead of being refused."""

from typing import Annotated, Final

from fastapi import Depends, Request

from jobplane.contracts.actors import Role
from jobplane.contracts.errors import JobplaneError
from jobplane.gateway import auth
from jobplane.gateway.auth import Caller
from jobplane.gateway.wiring import gateway_of

_may_look: Final = auth.Require(Role.VIEWER, any_parameters=True)


class LoginNeeded(JobplaneError):
    """Nobody is logged in; a person who merely opens a page has done nothing that an audit log should hold."""


async def _visitor(request: Request) -> Caller:
    if await auth.identify(request) is None:
        raise LoginNeeded
    caller = await _may_look(request)
    request.state.caller = caller
    return caller


async def _actor(request: Request, caller: auth.Admin) -> Caller:
    request.state.caller = caller
    return caller


Visitor = Annotated[Caller, Depends(_visitor)]
"""Anybody with an account."""
Operator = Annotated[Caller, Depends(_actor)]
"""Who may act; everybody else is refused and the refusal recorded."""


def frame(request: Request, caller: Caller, section: str = "") -> dict[str, object]:
    """What every screen shows around its content."""
    return {
        "environment": gateway_of(request).settings.environment,
        "who": {"name": caller.name, "role": caller.known.role},
        "may_act": caller.may(Role.ADMIN),
        "section": section,
    }


def is_partial(request: Request) -> bool:
    """Whether htmx asks for a part of the page only."""
    return request.headers.get("hx-request") == "true"
