"""Accounts: who may log in, with which role; the first ones are made at the first start."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, LockOrder, Transaction
from jobplane.contracts.actors import Actor, Role, system
from jobplane.contracts.admin_events import PasswordReset, UserCreated
from jobplane.contracts.errors import JobplaneError, Refused
from jobplane.gateway.admin_log import AdminLog, Entry
from jobplane.gateway.origins import only_uuids
from jobplane.gateway.passwords import Passwords

log = structlog.get_logger()

SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 1024
_CREATION_LOCK: Final = 0x6A706163
_BY_NAME: Final = "SELECT id, name, role, password_hash FROM account WHERE name = %s"
_CREATE: Final = "INSERT INTO account (id, name, role, password_hash, version) VALUES (%s, %s, %s, %s, 1)"
_NEXT_VERSION: Final = "UPDATE account SET version = version + 1 WHERE id = %s RETURNING version"


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in."""

    id: str
    name: str
    role: Role
    password_hash: str


def canonical_name(name: str) -> str:
    """Names differ neither by case nor by space around them."""
    return name.strip().casefold()


def check_password(password: str) -> None:
    """Whether this may be a password.

    Raises:
        Refused: it is too short or too long (`invalid_request`).
    """
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        detail = f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters."
        raise Refused("invalid_request", detail)


class Accounts:
    """The accounts of the gateway; each account is a stream of its journal."""

    def __init__(self, pool: AsyncConnectionPool[Any], admin_log: AdminLog, passwords: Passwords) -> None:
        self._pool = pool
        self._log = admin_log
        self._passwords = passwords

    async def by_name(self, name: str) -> Account | None:
        """The account of that name; a name that cannot be written (a NUL, half a character) is nobody's."""
        name = canonical_name(name)
        if not name.isprintable():
            return None
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_BY_NAME, (name,))).fetchone()
        return None if row is None else Account(str(row[0]), row[1], Role(row[2]), row[3])

    async def id_of(self, name_or_id: str) -> str:
        """The id of the account of that name; what names none, workers and ids among them, stands for itself."""
        account = await self.by_name(name_or_id)
        return account.id if account else name_or_id

    async def names(self, ids: Iterable[str]) -> dict[str, str]:
        """Names by account id, of those that exist."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute("SELECT id, name FROM account WHERE id = ANY(%s::uuid[])", (only_uuids(ids),))
            return {str(row[0]): row[1] for row in await cursor.fetchall()}

    async def ids(self, names: Iterable[str]) -> dict[str, str]:
        """Ids by name as it was given, of the accounts that exist."""
        by_name = {name: canonical_name(name) for name in names}
        wanted = [name for name in by_name.values() if name.isprintable()]
        async with self._pool.connection() as conn:
            found = dict(
                await (await conn.execute("SELECT name, id FROM account WHERE name = ANY(%s)", (wanted,))).fetchall()
            )
        return {given: str(found[name]) for given, name in by_name.items() if name in found}

    async def ensure_first(self, admin_password: str | None, local_password: str | None) -> None:
        """Make `admin` if there is no account yet, and `local` if this machine's command line has a password for it.

        Raises:
            JobplaneError: there is no account and no password to make one with, or one that is too short or too long.
        """
        await self._ensure("admin", Role.SUPERADMIN, admin_password, only_first=True)
        if local_password is not None:
            await self._ensure("local", Role.ADMIN, local_password, only_first=False)

    async def _ensure(self, name: str, role: Role, password: str | None, *, only_first: bool) -> None:
        existing = await self.by_name(name)
        if existing is not None:
            if not only_first and password and not await self._passwords.verify(existing.password_hash, password):
                _check_variable(name, password)
                await self.reset_password(name, password, actor=system("gateway"))
            return
        if only_first and await self._any():
            return
        if password is None:
            msg = "There is no account yet: set JOBPLANE_ADMIN_PASSWORD to make the account 'admin'."
            raise JobplaneError(msg)
        _check_variable(name, password)
        await self.create(name, role, password, actor=system("gateway"))

    async def create(self, name: str, role: Role, password: str, *, actor: Actor) -> None:
        """Make an account. Does nothing if somebody else just made it.

        Raises:
            Refused: the password is too short or too long (`invalid_request`).
        """
        check_password(password)
        name, password_hash = canonical_name(name), await self._passwords.hash(password)
        account_id = new_id()
        async with self._log.journal.transaction() as tx:
            await tx.conn.execute("SELECT pg_advisory_xact_lock(%s)", (_CREATION_LOCK,))
            if await (await tx.conn.execute(_BY_NAME, (name,))).fetchone() is not None:
                return
            await tx.conn.execute(_CREATE, (account_id, name, role, password_hash))
            await self._log.append(tx, Entry(UserCreated(role=role), actor, account_id))
        log.info("account.created", account_id=account_id, role=role)

    async def _any(self) -> bool:
        async with self._pool.connection() as conn:
            return await (await conn.execute("SELECT 1 FROM account LIMIT 1")).fetchone() is not None

    async def reset_password(self, name: str, password: str, *, actor: Actor) -> None:
        """Give an account a new password and end its sessions and tokens (noticed everywhere within seconds).

        Raises:
            Refused: `account_not_found`, or the password is too short or too long (`invalid_request`).
        """
        check_password(password)
        account = await self.by_name(name)
        if account is None:
            raise Refused("account_not_found", "There is no account of that name.")
        password_hash = await self._passwords.hash(password)
        async with self._log.journal.transaction() as tx:
            version = await next_version(tx, account.id)
            await tx.conn.execute("UPDATE account SET password_hash = %s WHERE id = %s", (password_hash, account.id))
            await tx.conn.execute("DELETE FROM session WHERE account_id = %s", (account.id,))
            await tx.conn.execute("DELETE FROM token WHERE account_id = %s", (account.id,))
            await self._log.append(tx, Entry(PasswordReset(), actor, account.id, version))


def _check_variable(name: str, password: str) -> None:
    """As `check_password`; the sentence names what to change, for it ends a start."""
    try:
        check_password(password)
    except Refused as error:
        msg = f"JOBPLANE_{name.upper()}_PASSWORD cannot be used: {error.detail}"
        raise JobplaneError(msg) from error


async def next_version(tx: Transaction, account_id: str) -> int:
    """Lock an account and count one event more in its stream."""
    tx.locking(LockOrder.ROWS)
    row = await (await tx.conn.execute(_NEXT_VERSION, (account_id,))).fetchone()
    if row is None:
        raise Refused("account_not_found", "The account was removed meanwhile.")
    return int(row[0])


async def reset_password(database_url: str, name: str, password: str) -> None:
    """What `jobplane password reset` does; a gateway that is not running publishes the event at its next start.

    Raises:
        Refused: see `Accounts.reset_password`.
    """
    pool = await database.open_pool(database_url, schema="gateway", service="password-reset", max_size=2)
    try:
        accounts = Accounts(pool, AdminLog(Journal(pool)), Passwords())
        await accounts.reset_password(name, password, actor=system("command-line"))
    finally:
        await pool.close()
