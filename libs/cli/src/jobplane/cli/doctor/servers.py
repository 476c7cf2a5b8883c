"""Connections for looking: as each service's role and as each user of the bus; what is down stays a sentence."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from jobplane.chassis import bus
from jobplane.chassis.bus import Connection
from jobplane.cli.site import Site
from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.local.credentials import SERVICES

READER: Final = "health-reader"
"""The NATS user: it may look at all streams, and change nothing."""
_CONNECT_S: Final = 3
_ANSWER_S: Final = 2.0
_AWAY: Final = "bus_unavailable"
_OPTIONS: Final = "-c default_transaction_read_only=on -c statement_timeout=5s -c lock_timeout=2s -c timezone=UTC"


class Away(JobplaneError):
    """What the check needs is down; that is told by another check."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What could be reached, and why not the rest."""

    site: Site
    databases: Mapping[str, AsyncConnection[TupleRow] | str]
    """By service: a read-only connection as its role, or why there is none."""
    nc: Connection | str
    """The bus as `READER`, or why not."""
    nats_answers: bool
    """Whether the bus is there, even if it does not let `READER` in."""

    def has(self, service: str) -> bool:
        """Whether the database of a service can be asked."""
        return not isinstance(self.databases[service], str)

    @property
    def any(self) -> str | None:
        """A service whose database can be asked."""
        return next(filter(self.has, self.databases), None)

    async def row(self, service: str, query: str, values: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """The first row of a query in the schema of a service.

        Raises:
            Away: its database is down.
        """
        found = await self.rows(service, query, values)
        return found[0] if found else ()

    async def rows(self, service: str, query: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows; as `row`."""
        connection = self.databases[service]
        if isinstance(connection, str):
            raise Away(connection)
        return await (await connection.execute(query.encode(), values)).fetchall()

    @property
    def bus(self) -> Connection:
        """The bus.

        Raises:
            Away: it is down.
        """
        if isinstance(self.nc, str):
            raise Away(self.nc)
        return self.nc


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[Servers]:
    """Everything that answers, closed at the end."""
    names = list(SERVICES)
    found = await asyncio.gather(*(_database(site.database_as(name), name) for name in names))
    servers = Servers(site, dict(zip(names, found, strict=True)), *await _bus(site, READER))
    try:
        yield servers
    finally:
        if not isinstance(servers.nc, str):
            await bus.close(servers.nc)
        for connection in servers.databases.values():
            if not isinstance(connection, str):
                await connection.close()


async def _database(url: str, schema: str) -> AsyncConnection[TupleRow] | str:
    try:
        return await AsyncConnection.connect(
            url,
            autocommit=True,
            connect_timeout=_CONNECT_S,
            application_name="jobplane doctor",
            options=f"-c search_path={schema} {_OPTIONS}",
        )
    except psycopg.Error as error:
        return in_short(error)


async def _bus(site: Site, user: str) -> tuple[Connection | str, bool]:
    try:
        return await as_user(site, user), True
    except Unavailable as error:
        return error.detail, error.code != _AWAY


async def as_user(site: Site, user: str) -> Connection:
    """The bus as one user; close it.

    Raises:
        Unavailable: nobody answers, or the user is refused.
    """
    if site.credentials is not None and user not in site.credentials.nats_users:
        raise Unavailable(f"there is no password for the user {user} yet: the next `jobplane up` makes one")
    return await bus.connect(site.nats_as(user), user=site.nats_user(user), name="jobplane doctor", timeout_s=_ANSWER_S)


def in_short(error: Exception) -> str:
    """The first line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
