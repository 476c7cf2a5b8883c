"""Housekeeping: what has expired is removed, and refusals that were only counted are summed up."""

import time
from typing import Final

from jobplane.gateway.wiring import Gateway

EVERY_S: Final = 5.0
_CLEAN_EVERY_S: Final = 60.0
_STATEMENTS: Final = (
    "DELETE FROM session WHERE expires_at < now()",
    "DELETE FROM token WHERE expires_at < now()",
    "DELETE FROM rate_limit WHERE full_at < now()",
    "DELETE FROM pending_command WHERE created_at < now() - interval '7 days'",
)


class Housekeeping:
    """Called every few seconds; cleans once a minute."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._clean_at = 0.0

    async def run_once(self) -> None:
        """Write down and sum up what waited for it; remove what has expired unless that was done just now."""
        await self._gateway.pending.flush()
        await self._gateway.log.sum_up()
        if time.monotonic() < self._clean_at:
            return
        async with self._gateway.pool.connection() as conn:
            for statement in _STATEMENTS:
                await conn.execute(statement)
        self._clean_at = time.monotonic() + _CLEAN_EVERY_S
