"""Source addresses: kept in one erasable table, everywhere else only their id is written."""

import re
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from psycopg import Error as DatabaseError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from jobplane.chassis import database
from jobplane.chassis.ids import new_id

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REMEMBERED: Final = 10_000
_LEND_S: Final = 1.0
_ID_OF: Final = """
INSERT INTO origin (id, address) VALUES (%s, %s)
ON CONFLICT (address) DO UPDATE SET seen_at = now() RETURNING id
"""


class Origins:
    """Ids of addresses, and back."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._ids: OrderedDict[str, str] = OrderedDict()

    async def id_of(self, address: str) -> str | None:
        """The id of an address, made at its first request; none while the database is away."""
        known = self._ids.get(address)
        if known is not None:
            self._ids.move_to_end(address)
            return known
        try:
            async with self._pool.connection(timeout=_LEND_S) as conn:
                row = await (await conn.execute(_ID_OF, (new_id(), address))).fetchone()
        except (DatabaseError, PoolTimeout) as error:
            if not database.is_away(error):
                raise
            return None
        if row is None:
            msg = "an upsert with RETURNING gave no row"
            raise RuntimeError(msg)
        self._ids[address] = str(row[0])
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)
        return str(row[0])

    async def addresses(self, ids: Iterable[str]) -> dict[str, str]:
        """The addresses of these ids, as far as they were not erased."""
        async with self._pool.connection() as conn:
            cursor = await conn.execute("SELECT id, address FROM origin WHERE id = ANY(%s::uuid[])", (only_uuids(ids),))
            return {str(row[0]): row[1] for row in await cursor.fetchall()}

    async def erase(self, address: str) -> bool:
        """Forget an address; events keep an id that leads nowhere. Whether it was known."""
        self._ids.pop(address, None)
        async with self._pool.connection() as conn:
            cursor = await conn.execute("DELETE FROM origin WHERE address = %s", (address,))
            return bool(cursor.rowcount)


def only_uuids(ids: Iterable[str]) -> list[str]:
    """Those that can be ids of ours: actors of other kinds have words for ids."""
    return [text for text in ids if _UUID.fullmatch(text)]
