"""What is verified: the journals, the AuditLog and the bus, over connections that can only read."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import bus, database
from jobplane.chassis.bus import Connection
from jobplane.cli.site import Site
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS

STREAMS: Final[Mapping[str, str]] = {"jobs": EVT_JOBS, "gateway": EVT_ADMIN}
"""Service that has a journal → the stream its relay publishes to."""
READER: Final = "audit-reader"
"""The NATS user: it may read the event streams, and nothing of ours is published with it."""
PAGE: Final = 20_000
"""Rows of one page: some megabytes, and a snapshot of some hundred milliseconds."""
_CONNECT_S: Final = 3.0
FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"

# A snapshot holds back vacuum as long as it lasts, so each page has one of its own. No parallel workers: the
# platform's own queries go first.
_BEGIN: Final[LiteralString] = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL statement_timeout = '120s';
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off
"""
_HEAD: Final[LiteralString] = """
SELECT pos, epoch, first_pos, halted, coalesce((SELECT min(pos) FROM event), first_pos) FROM journal_head
"""


@dataclass(frozen=True, slots=True)
class Head:
    """A journal as it was when the verification began: everything is judged up to `position`."""

    position: int
    epoch: int
    first: int
    """Position with which the current epoch began."""
    halted: str | None
    lowest: int
    """The first position that is still there."""

    @property
    def start(self) -> int:
        """The position before the first that must be there."""
        return min(self.lowest, self.first) - 1


class Sources:
    """The connections, and how far everything was at the start."""

    def __init__(self, pools: Mapping[str, AsyncConnectionPool], nc: Connection | str) -> None:
        self._pools = pools
        self._nc = nc
        self.heads: dict[str, Head] = {}
        self.start: int | None = None
        """Where the operator wants to begin in the journal of the jobs; None: where it begins."""

    @property
    def bus(self) -> Connection:
        """The bus.

        Raises:
            Unavailable: it could not be reached at the start.
        """
        if isinstance(self._nc, str):
            raise Unavailable(self._nc)
        return self._nc

    @asynccontextmanager
    async def snapshot(self, schema: str) -> AsyncIterator[AsyncConnection[Any]]:
        """One read-only snapshot of a service's schema; keep it short."""
        async with self._pools[schema].connection() as conn, conn.transaction():
            await conn.execute(_BEGIN)
            yield conn

    async def take_heads(self) -> None:
        """Settle up to where everything is judged."""
        for service in STREAMS:
            self.heads[service] = await self.head(service)

    async def head(self, service: str) -> Head:
        """The journal as it is now."""
        async with self.snapshot(service) as conn:
            row = await (await conn.execute(_HEAD)).fetchone()
        if row is None:
            raise Unavailable(f"the schema {service} has no journal: migrate it first")
        return Head(*row)

    def span(self, service: str) -> tuple[int, int]:
        """Positions to look at: after the first, up to and with the second."""
        head = self.heads[service]
        start = head.start
        if service == "jobs" and self.start is not None:
            start = max(start, self.start - 1)
        return start, max(start, head.position)


def pages(low: int, high: int, size: int = PAGE) -> Iterator[tuple[int, int]]:
    """The span in pieces, each after its first and with its second position."""
    for start in range(low, high, size):
        yield start, min(start + size, high)


@asynccontextmanager
async def opened(site: Site) -> AsyncIterator[Sources]:
    """The sources of a platform.

    Raises:
        Unavailable: the database cannot be reached; a bus that cannot is told when it is needed.
    """
    pools: dict[str, AsyncConnectionPool] = {}
    nc: Connection | str = ""
    try:
        for schema in (*STREAMS, "audit"):
            pools[schema] = await database.open_pool(
                site.database_as(schema), schema=schema, service="jobplane verify", max_size=1, timeout_s=_CONNECT_S
            )
        nc = await _bus(site)
        sources = Sources(pools, nc)
        await sources.take_heads()
        yield sources
    finally:
        if not isinstance(nc, str):
            await bus.close(nc)
        for pool in pools.values():
            await pool.close()


async def _bus(site: Site) -> Connection | str:
    try:
        return await bus.connect(
            site.nats_as(READER), user=site.nats_user(READER), name="jobplane verify", timeout_s=_CONNECT_S
        )
    except Unavailable as error:
        return str(error)
