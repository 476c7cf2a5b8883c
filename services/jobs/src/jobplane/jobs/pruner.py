"""The pruner: forgets outcomes that nobody can repeat the command of any more, and what error groups were long ago."""

from typing import Final, LiteralString

from psycopg_pool import AsyncConnectionPool

from jobplane.jobs import error_groups, outcomes

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
        """Delete what is too old; gives how many rows."""
        return sum([await self._prune(statement) for statement in (_PRUNE, *error_groups.PRUNE)])

    async def _prune(self, statement: LiteralString) -> int:
        pruned = 0
        while True:
            async with self._pool.connection() as conn:
                bite = (await conn.execute(statement)).rowcount
            pruned += bite
            if bite < _AT_ONCE:
                return pruned
