"""Logging in and out: a name and a password for a session of the console or a bearer of a program."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fastapi import Request

from jobplane.contracts.actors import Actor
from jobplane.contracts.admin_events import LoggedOut, LoginFailed, LoginSucceeded
from jobplane.contracts.errors import Refused
from jobplane.gateway import auth
from jobplane.gateway.accounts import LONGEST_PASSWORD, Account, canonical_name, next_version
from jobplane.gateway.admin_log import Entry
from jobplane.gateway.rate_limit import Limit, too_many
from jobplane.gateway.sessions import Credential, hash_of
from jobplane.gateway.wiring import Gateway, gateway_of

_SECONDS_PER_ATTEMPT: Final = 15.0
_NAMES_PER_ADDRESS: Final = 10
"""An address may fail that many times more often over all names than with one name."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session or token; `secret` is told once and never kept."""

    account: Account
    secret: str
    expires_at: datetime


async def log_in(request: Request, credential: Credential, name: str, password: str) -> Opened:
    """Open a session or a token.

    Raises:
        Refused: `invalid_credentials`, or `rate_limited` after too many failures.
    """
    gateway, actor = gateway_of(request), await auth.anonymous(request)
    limits = _limits(gateway, actor, canonical_name(name))
    for limit, key in limits:
        if wait_s := await gateway.limits.take(limit, key):
            await gateway.log.refused(actor, LoginFailed(code="rate_limited"))
            raise too_many(wait_s)
    account = await gateway.accounts.by_name(name)
    known = await gateway.passwords.verify(account.password_hash if account else None, password[: LONGEST_PASSWORD + 1])
    if account is None or not known:
        failure = LoginFailed(code="invalid_credentials", account_id=account.id if account else None)
        await gateway.log.refused(actor, failure)
        raise Refused("invalid_credentials", "Name or password is wrong.")
    for limit, key in limits:
        await gateway.limits.refill(limit, key)
    return await _open(gateway, credential, account, actor)


async def _open(gateway: Gateway, credential: Credential, account: Account, anonymous: Actor) -> Opened:
    actor = Actor(id=account.id, kind=credential.kind, role=account.role, origin=anonymous.origin)
    async with gateway.log.journal.transaction() as tx:
        version = await next_version(tx, account.id)
        secret, expires_at = await gateway.sessions.open(tx, credential, account.id)
        await gateway.log.append(tx, Entry(LoginSucceeded(credential=credential), actor, account.id, version))
    return Opened(account, secret, expires_at)


async def log_out(request: Request, caller: auth.Caller) -> None:
    """End the session or token that the caller shows; streams that it opened end within seconds."""
    gateway = gateway_of(request)
    async with gateway.log.journal.transaction() as tx:
        version = await next_version(tx, caller.known.account_id)
        await gateway.sessions.end(tx, caller.known)
        await gateway.log.append(tx, Entry(LoggedOut(), caller.actor, caller.known.account_id, version))
    gateway.sessions.forget(caller.known.secret_hash)


async def replace(request: Request, opened: Opened) -> None:
    """After a login in a browser: end the session it had before, if any, so that no old one is left behind."""
    gateway = gateway_of(request)
    old = request.cookies.get(auth.cookie_name(secure=gateway.settings.secure))
    if not old or old == opened.secret:
        return
    known = await gateway.sessions.find(Credential.SESSION, hash_of(old))
    if known is not None:
        async with gateway.log.journal.transaction() as tx:
            await gateway.sessions.end(tx, known)
        gateway.sessions.forget(known.secret_hash)


def _limits(gateway: Gateway, actor: Actor, name: str) -> list[tuple[Limit, str]]:
    address = actor.origin or "unknown"
    attempts = gateway.settings.login_attempts
    return [
        (Limit("login", attempts, _SECONDS_PER_ATTEMPT), f"{address} {name}"),
        (
            Limit("login-address", attempts * _NAMES_PER_ADDRESS, _SECONDS_PER_ATTEMPT / _NAMES_PER_ADDRESS),
            address,
        ),
    ]
