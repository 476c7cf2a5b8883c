"""Commands that were accepted without an outcome: remembered in the database, for a while in memory if it is away."""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

import psycopg
import structlog
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from jobplane.chassis import clock, database
from jobplane.contracts.ids import CommandId

log = structlog.get_logger()

EXPIRES: Final = timedelta(hours=1)
"""A command that nobody decided within this time is refused whenever it is looked at."""
MOST_KEPT: Final = 10_000
_SURELY_EXPIRED: Final = EXPIRES + timedelta(minutes=1)
"""One that was decided in the last moment has its outcome by now, and clocks differ a little."""
_LEND_S: Final = 1.0
"""The caller waits for its answer: a connection that does not come soon is done without."""
_INSERT: Final = """
INSERT INTO pending_command (command_id, account_id, created_at)
SELECT %s, id, %s FROM account WHERE id = %s
ON CONFLICT (command_id) DO UPDATE SET created_at = greatest(pending_command.created_at, excluded.created_at)
"""


class Standing(Enum):
    """What is known here of a command that has no outcome."""

    UNKNOWN = "unknown"
    PENDING = "pending"
    EXPIRED = "expired"


class PendingCommands:
    """Who asks later gets an answer also for a command whose outcome nobody could wait for."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._kept: dict[CommandId, tuple[datetime, str]] = {}

    async def add(self, id_: CommandId, account_id: str) -> None:
        """Remember a command; a database that is away gets it later (`flush`), as the command is accepted already."""
        now = clock.now()
        try:
            async with self._pool.connection(timeout=_LEND_S) as conn:
                await conn.execute(_INSERT, (id_, now, account_id))
        except (psycopg.Error, PoolTimeout) as error:
            if not database.temporary(error):
                raise
            self._keep(id_, now, account_id)
            log.warning("pending.kept_in_memory", command_id=id_, error=type(error).__name__)

    async def standing(self, id_: CommandId) -> Standing:
        """Whether we know of the command, and whether it can still be decided."""
        kept = self._kept.get(id_)
        since = kept[0] if kept else await self._read(id_)
        if since is None:
            return Standing.UNKNOWN
        return Standing.EXPIRED if clock.now() - since > _SURELY_EXPIRED else Standing.PENDING

    async def flush(self) -> None:
        """Write what is only in memory; what cannot be written yet stays there."""
        if not self._kept:
            return
        rows = [(id_, since, account_id) for id_, (since, account_id) in self._kept.items()]
        try:
            async with self._pool.connection(timeout=_LEND_S) as conn, conn.cursor() as cursor:
                await cursor.executemany(_INSERT, rows)
        except (psycopg.Error, PoolTimeout) as error:
            if not database.temporary(error):
                raise
            log.debug("pending.still_in_memory", count=len(rows), error=type(error).__name__)
            return
        for id_, _, _ in rows:
            self._kept.pop(id_, None)

    async def _read(self, id_: CommandId) -> datetime | None:
        async with self._pool.connection() as conn:
            cursor = await conn.execute("SELECT created_at FROM pending_command WHERE command_id = %s", (id_,))
            row = await cursor.fetchone()
        return None if row is None else row[0]

    def _keep(self, id_: CommandId, since: datetime, account_id: str) -> None:
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[id_] = (since, account_id)
