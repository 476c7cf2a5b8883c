"""Password hashing: argon2id (RFC 9106, the low-memory profile), in threads, never more than two at once."""

import asyncio
from functools import cache
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from jobplane.contracts.errors import Unavailable

_AT_ONCE: Final = 2
_MOST_WAITING: Final = 64
_hasher = PasswordHasher()


class Passwords:
    """Hashes and verifies without blocking the loop; each hash takes 64 MiB while it runs, so few run at once."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """A salted hash to keep."""
        async with self._slots:
            return await asyncio.to_thread(_hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one; an unknown account (no hash) takes as long as a known one.

        Raises:
            Unavailable: too many others are waiting.
        """
        if self._waiting >= _MOST_WAITING:
            detail = "Too many logins at once. Try again in a moment."
            raise Unavailable(detail, retry_after_s=2)
        self._waiting += 1
        try:
            async with self._slots:
                matches = await asyncio.to_thread(_matches, password_hash or _nobodys_hash(), password)
        finally:
            self._waiting -= 1
        return matches and password_hash is not None


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("no account has this password")
