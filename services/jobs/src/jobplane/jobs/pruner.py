"""The pruner: forgets command outcomes when nobody can repeat the command any more."""

from typing import Final

from psycopg_pool import AsyncConnectionPool

from jobplane.jobs import outcomes

EVERY_S: Final = 600.0
_AT_ONCE: Final = 5000
_PRUNE: Final = f"""
DELETE FROM command_outcome WHERE command_id IN (
    SELECT command_id FROM command_outcome WHERE at < now() - interval '{outcomes.KEPT}' ORDER BY at LIMIT {_AT_ONCE}
    FOR UPDATE SKIP LOCKED
)
"""  # noqa: S608 - constants


class Pruner:
    """Deletes in small bites, so that nobody waits for it."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def run_once(self) -> int:
        """Delete what is too old; gives how many outcomes."""
        pruned = 0
        while True:
            async with self._pool.connection() as conn:
                bite = (await conn.execute(_PRUNE)).rowcount
            pruned += bite
            if bite < _AT_ONCE:
                return pruned
