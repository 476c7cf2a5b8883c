"""Rate limits, exact across gateways: the generic cell rate algorithm (ITU-T I.371) as one upsert in Postgres."""

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Final

from psycopg import Error as DatabaseError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from jobplane.chassis import database
from jobplane.contracts.errors import Refused

# Each unit moves `full_at`, when the bucket will be full again, on by one interval; at most `burst` intervals ahead.
_TAKE: Final = """
INSERT INTO rate_limit AS bucket (key, full_at)
VALUES (%(key)s, clock_timestamp() + %(cost)s * make_interval(secs => %(interval)s))
ON CONFLICT (key) DO UPDATE
SET full_at = greatest(bucket.full_at, clock_timestamp()) + %(cost)s * make_interval(secs => %(interval)s)
WHERE greatest(bucket.full_at, clock_timestamp()) + %(cost)s * make_interval(secs => %(interval)s)
      <= clock_timestamp() + %(burst)s * make_interval(secs => %(interval)s)
RETURNING 1
"""
_WAIT: Final = """
SELECT extract(epoch FROM full_at - clock_timestamp())::float8 - (%(burst)s - %(cost)s) * %(interval)s
FROM rate_limit WHERE key = %(key)s
"""
_MOST_KEYS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """So many at once, and then one per interval."""

    name: str
    burst: int
    interval_s: float


class RateLimits:
    """Takes units from buckets that all gateways share."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def take(self, limit: Limit, key: str, cost: int = 1) -> float:
        """Take units; 0 if they were there, else how many seconds to wait (nothing was taken then)."""
        values = {"key": _bucket(limit, key), "cost": cost, "interval": limit.interval_s, "burst": limit.burst}
        async with self._pool.connection() as conn:
            if await (await conn.execute(_TAKE, values)).fetchone() is not None:
                return 0.0
            row = await (await conn.execute(_WAIT, values)).fetchone()
        return max(limit.interval_s, row[0] if row else 0.0)

    async def refill(self, limit: Limit, key: str) -> None:
        """Forget what was taken."""
        async with self._pool.connection() as conn:
            await conn.execute("DELETE FROM rate_limit WHERE key = %s", (_bucket(limit, key),))


class RequestLimit:
    """The limit of ordinary requests: units are fetched from the shared bucket by the block, to keep them cheap."""

    def __init__(self, limits: RateLimits, limit: Limit) -> None:
        self._limits = limits
        self._limit = limit
        self._block = max(1, limit.burst // 20)
        self._in_hand: dict[str, int] = {}

    async def take(self, key: str) -> None:
        """Count one request.

        Raises:
            Refused: `rate_limited`, with `retry_after_s`.
        """
        left = self._in_hand.get(key, 0)
        if left > 0:
            self._in_hand[key] = left - 1
            return
        try:
            wait_s = await self._fetch(key)
        except (DatabaseError, PoolTimeout) as error:
            if not database.is_away(error):
                raise
            return  # whoever is let in now was verified within the last minute
        if wait_s:
            raise too_many(wait_s)

    async def _fetch(self, key: str) -> float:
        if await self._limits.take(self._limit, key, self._block) == 0:
            if len(self._in_hand) >= _MOST_KEYS:
                self._in_hand.clear()
            self._in_hand[key] = self._in_hand.get(key, 0) + self._block - 1
            return 0.0
        return await self._limits.take(self._limit, key)


def too_many(wait_s: float) -> Refused:
    """The refusal, with how long to wait."""
    seconds = max(1, math.ceil(wait_s))
    return Refused("rate_limited", f"Too many requests. Try again in {seconds} s.", {"retry_after_s": seconds})


def _bucket(limit: Limit, key: str) -> str:
    """Keys may hold names and addresses: only a hash is kept."""
    return f"{limit.name}:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
