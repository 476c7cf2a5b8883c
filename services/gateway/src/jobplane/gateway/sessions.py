"""Sessions of browsers and bearer tokens of programs: random secrets, of which only hashes are kept."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from psycopg import Error as DatabaseError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from jobplane.chassis import clock, database
from jobplane.chassis.journal import Transaction
from jobplane.contracts.actors import ActorKind, Role
from jobplane.contracts.errors import Unavailable

FRESH_S: Final = 5.0
"""How long an answer of the database is believed: a logout elsewhere is noticed after so long."""
STALE_S: Final = 60.0
"""How long a verified session lives from memory while the database is away."""
_LEND_S: Final = 1.0
_PAUSE_S: Final = 1.0
"""While the database is away, it is asked again only so often."""
_REMEMBERED: Final = 10_000
TOKEN_PREFIX: Final = "jp_"  # noqa: S105 - makes leaked tokens findable, is no secret


class Credential(StrEnum):
    """What a caller shows: a cookie or a bearer."""

    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - a kind of credential

    @property
    def kind(self) -> ActorKind:
        """How actions with it are told."""
        return ActorKind.USER if self is Credential.SESSION else ActorKind.TOKEN


@dataclass(frozen=True, slots=True)
class Known:
    """A credential that was found, and whose it is."""

    credential: Credential
    secret_hash: bytes
    account_id: str
    name: str
    role: Role
    expires_at: datetime


_FIND: Final = {
    credential: f"""
SELECT c.account_id, a.name, a.role, c.expires_at FROM {credential} c JOIN account a ON a.id = c.account_id
WHERE c.secret_hash = %s AND c.expires_at > now()
"""  # noqa: S608 - the two table names above
    for credential in Credential
}
_OPEN: Final = {
    credential: f"INSERT INTO {credential} (secret_hash, account_id, expires_at) VALUES (%s, %s, %s)"  # noqa: S608 - as above
    for credential in Credential
}
_END: Final = {
    credential: f"DELETE FROM {credential} WHERE secret_hash = %s"  # noqa: S608 - as above
    for credential in Credential
}


def hash_of(secret: str) -> bytes:
    """What is kept of a secret. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Sessions:
    """Opens, finds and ends sessions and tokens; found ones are remembered for a few seconds."""

    def __init__(
        self,
        pool: AsyncConnectionPool[Any],
        lifetimes: dict[Credential, timedelta],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._lifetimes = lifetimes
        self._monotonic = monotonic
        self._verified: OrderedDict[bytes, tuple[Known, float]] = OrderedDict()
        self._away_until = -_PAUSE_S

    async def open(self, tx: Transaction, credential: Credential, account_id: str) -> tuple[str, datetime]:
        """A new secret for an account, and when it expires."""
        secret = secrets.token_urlsafe(32)
        if credential is Credential.TOKEN:
            secret = TOKEN_PREFIX + secret
        expires_at = clock.now() + self._lifetimes[credential]
        await tx.conn.execute(_OPEN[credential], (hash_of(secret), account_id, expires_at))
        return secret, expires_at

    async def find(self, credential: Credential, secret_hash: bytes) -> Known | None:
        """Whose credential that is; none if it is unknown, ended or expired.

        Raises:
            Unavailable: the database is away and the credential was not verified within the last minute.
        """
        remembered = self._verified.get(secret_hash)
        age = self._monotonic() - remembered[1] if remembered else STALE_S
        if remembered is not None and age < FRESH_S:
            known: Known | None = remembered[0]
        else:
            try:
                known = await self._look_up(credential, secret_hash)
            except Unavailable:
                if remembered is None or age >= STALE_S:
                    raise
                known = remembered[0]
        if known is None or known.expires_at <= clock.now() or known.credential is not credential:
            return None
        return known

    async def _look_up(self, credential: Credential, secret_hash: bytes) -> Known | None:
        detail = "Logins cannot be verified just now. Try again in a moment."
        if self._monotonic() < self._away_until:
            raise Unavailable(detail)
        try:
            async with self._pool.connection(timeout=_LEND_S) as conn:
                row = await (await conn.execute(_FIND[credential], (secret_hash,))).fetchone()
        except (DatabaseError, PoolTimeout) as error:
            if not database.is_away(error):
                raise
            self._away_until = self._monotonic() + _PAUSE_S
            raise Unavailable(detail) from error
        if row is None:
            self.forget(secret_hash)
            return None
        known = Known(credential, secret_hash, str(row[0]), row[1], Role(row[2]), row[3])
        self._verified[secret_hash] = (known, self._monotonic())
        self._verified.move_to_end(secret_hash)
        if len(self._verified) > _REMEMBERED:
            self._verified.popitem(last=False)
        return known

    async def end(self, tx: Transaction, known: Known) -> None:
        """End one session or token; `forget` it once the transaction is committed."""
        await tx.conn.execute(_END[known.credential], (known.secret_hash,))

    def forget(self, secret_hash: bytes | None = None) -> None:
        """Ask the database again about one credential, or about all."""
        if secret_hash is None:
            self._verified.clear()
        else:
            self._verified.pop(secret_hash, None)
