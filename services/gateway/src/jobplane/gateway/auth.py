"""Who calls, and whether they may: each route names the least role by the type of a parameter."""

import functools
import re
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Request

from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.admin_events import RequestRefused
from jobplane.contracts.errors import Refused
from jobplane.contracts.subjects import KIND_PATTERN, QUEUE_PATTERN
from jobplane.gateway import cross_site, known_parameters
from jobplane.gateway.sessions import Credential, Known, hash_of
from jobplane.gateway.wiring import Gateway, gateway_of

_NAMED: Final = {
    "queue": re.compile(QUEUE_PATTERN),
    "kind": re.compile(KIND_PATTERN),
    "dead_letter": re.compile(r"[1-9][0-9]{0,18}"),
}
_RANK: Final = {Role.VIEWER: 0, Role.ADMIN: 1, Role.SUPERADMIN: 2}


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who proved who they are."""

    known: Known
    actor: Actor

    @property
    def name(self) -> str:
        """Their account's name."""
        return self.known.name

    def may(self, role: Role) -> bool:
        """Whether their role includes this one."""
        return _RANK[self.known.role] >= _RANK[role]


def cookie_name(*, secure: bool) -> str:
    """The session's cookie; over https browsers themselves guarantee that no other host or path set it."""
    return "__Host-jobplane_session" if secure else "jobplane_session"


def shown_credential(request: Request, *, secure: bool) -> tuple[Credential, str] | None:
    """What the caller shows: an Authorization header counts before a cookie, even if it is no good."""
    authorization = request.headers.get("authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(" ")
        return Credential.TOKEN, secret.strip() if scheme.lower() == "bearer" else ""
    secret = request.cookies.get(cookie_name(secure=secure), "")
    return (Credential.SESSION, secret) if secret else None


async def identify(request: Request) -> Caller | None:
    """The caller, or none if they show nothing, or nothing valid.

    Raises:
        Refused: `cross_site`: a browser sends its cookie because another site told it to.
        Unavailable: it cannot be found out just now.
    """
    gateway = gateway_of(request)
    shown = shown_credential(request, secure=gateway.settings.secure)
    if shown is None:
        return None
    credential, secret = shown
    known = await gateway.sessions.find(credential, hash_of(secret)) if secret else None
    if known is None:
        return None
    if credential is Credential.SESSION:
        try:
            cross_site.check_same_origin(request.method, request.headers, gateway.settings.public_url)
        except Refused as refusal:
            await record_refusal(request, refusal.code, await _actor(gateway, request, known))
            raise
    return Caller(known, await _actor(gateway, request, known))


class Require:
    """Lets callers through who have at least this role, and counts their requests; refusals are recorded.

    Args:
        role: the least that they need.
        any_parameters: of a screen, whose address people change and keep: what it does not know is not refused.
    """

    def __init__(self, role: Role, *, any_parameters: bool = False) -> None:
        self.role = role
        self._any_parameters = any_parameters

    async def __call__(self, request: Request) -> Caller:
        """The caller.

        Raises:
            Refused: `unauthenticated`, `forbidden`, `cross_site` or `rate_limited`.
            RequestValidationError: the query has parameters that the route has not.
        """
        caller = await identify(request)
        if caller is None:
            await record_refusal(request, "unauthenticated", await anonymous(request))
            raise Refused(
                "unauthenticated", "Log in first: POST /api/admin/session, or show a bearer of POST /api/admin/token."
            )
        if not caller.may(self.role):
            await record_refusal(request, "forbidden", caller.actor)
            raise Refused(
                "forbidden", f"This needs the role {self.role}.", {"role": caller.known.role, "needs": self.role}
            )
        try:
            await gateway_of(request).requests.take(caller.known.account_id)
        except Refused as refusal:
            await record_refusal(request, refusal.code, caller.actor)
            raise
        if not self._any_parameters:
            known_parameters.check(request)
        return caller


Viewer = Annotated[Caller, Depends(Require(Role.VIEWER))]
"""Anybody with an account."""
Admin = Annotated[Caller, Depends(Require(Role.ADMIN))]
"""Who may act."""
SuperAdmin = Annotated[Caller, Depends(Require(Role.SUPERADMIN))]
"""Who may change accounts and settings."""


async def same_origin(request: Request) -> None:
    """For routes that need no login: refuse what another site makes a browser send."""
    try:
        cross_site.check_same_origin(request.method, request.headers, gateway_of(request).settings.public_url)
    except Refused as refusal:
        await record_refusal(request, refusal.code, await anonymous(request))
        raise


async def anonymous(request: Request) -> Actor:
    """The actor of a caller whom we do not know."""
    origin = await _origin(gateway_of(request), request)
    return Actor(id="anonymous", kind=ActorKind.ANONYMOUS, origin=origin)


async def record_refusal(request: Request, code: str, actor: Actor) -> None:
    """Put a 401, 403 or 429 into the gateway's journal."""
    route = request.scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", "unknown")
    target_type, target_id = _target(request)
    refusal = RequestRefused(
        command=f"{request.method} {template}", code=code, target_type=target_type, target_id=target_id
    )
    await gateway_of(request).log.refused(actor, refusal)


def _target(request: Request) -> tuple[str, str | None]:
    """What the path names; only well-formed ids and names are written down, for anybody can ask for any path."""
    for name, value in request.path_params.items():
        if name in _NAMED and _NAMED[name].fullmatch(str(value)):
            return name, str(value)
        try:
            return name.removesuffix("_id"), str(UUID(str(value)))
        except ValueError:
            continue
    return "route", None


async def _actor(gateway: Gateway, request: Request, known: Known) -> Actor:
    origin = await _origin(gateway, request)
    return _acting(known.account_id, known.credential, known.role, origin)


@functools.lru_cache(maxsize=10_000)
def _acting(account_id: str, credential: Credential, role: Role, origin: str | None) -> Actor:
    return Actor(id=account_id, kind=credential.kind, role=role, origin=origin)


async def _origin(gateway: Gateway, request: Request) -> str | None:
    return await gateway.origins.id_of(request.client.host) if request.client else None
