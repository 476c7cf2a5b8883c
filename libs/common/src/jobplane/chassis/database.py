"""The service's own schema through a pool of psycopg connections, and what a failure of the database means."""

import contextlib
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg import AsyncConnection, errors
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Loader
from psycopg.pq import Format
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from jobplane.contracts.errors import Unavailable
from jobplane.contracts.fleet import PoolFigures

log = structlog.get_logger()

_CONNECT_S = 5
_LEND_S = 5.0
_CLOSE_S = 1.0
_GIVE_UP_RECONNECT_S = 2.0  # afterwards every borrower tries anew: an outage ends with the first success
_IDLE_S = 120.0
_SILENT_S = 35.0  # no statement takes longer than 30 s
_LOOK_S = 0.1

RV = TypeVar("RV")

# Limits of the server, so that no statement, lock or forgotten transaction holds others up for ever.
_SESSION: Final = {
    "timezone": "UTC",
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
}

_AWAY_CLASSES: Final = frozenset({"08", "53", "57", "58"})  # connection, resources, operator intervention, system
_QUERY_CANCELED = "57014"
_READ_ONLY = "25006"


class _UuidLoader(Loader):
    """A binary uuid as canonical text."""

    format = Format.BINARY

    def load(self, data: Buffer) -> str:
        return str(UUID(bytes=bytes(data)))


class _Adapters:
    """How values of the database become ours: a uuid is text, as everywhere else in the platform."""

    connection: psycopg.BaseConnection[Any] | None = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_loader("uuid", TextLoader)
        self.adapters.register_loader("uuid", _UuidLoader)


_ADAPTERS: AdaptContext = _Adapters()


class _Connection(AsyncConnection[Any]):
    """A connection that is given up when the server says nothing for longer than any statement may take.

    A peer that vanished without a word would otherwise be waited for until the operating system notices: for ever, if
    something in between still acknowledges what is sent.
    """

    async def wait(self, gen: Generator[Any, Any, RV], interval: float = _LOOK_S, timeout: float | None = None) -> RV:
        """Wait for an answer.

        Raises:
            OperationalError: the server is silent; the connection is closed.
        """
        try:
            return await super().wait(gen, interval, _SILENT_S if timeout is None else timeout)
        except errors._WaitTimeout as error:  # noqa: SLF001 - raised for the time-out asked for, has no public name
            if timeout is None:
                self.pgconn.finish()
            raise errors.OperationalError("the database does not answer") from error


class _Pool(AsyncConnectionPool):
    """A pool that closes in time for the end of the process, also while the database is away."""

    async def close(self, timeout: float = _CLOSE_S) -> None:
        await super().close(timeout)


async def open_pool(
    url: str,
    *,
    schema: str,
    service: str,
    min_size: int = 1,
    max_size: int = 10,
    timeout_s: float = 10.0,
) -> AsyncConnectionPool:
    """An open pool of autocommit connections that see only `schema`; uuid columns are read as text, instants are UTC.

    Raises:
        Unavailable: no connection within `timeout_s`; the sentence says why, without credentials.
    """
    pool = _Pool(
        url,
        connection_class=_Connection,
        kwargs=_connection_arguments(schema, service),
        min_size=min_size,
        max_size=max_size,
        open=False,
        name=service,
        timeout=_LEND_S,
        max_idle=_IDLE_S,
        reconnect_timeout=_GIVE_UP_RECONNECT_S,
        num_workers=2,
    )
    try:
        await pool.open(wait=True, timeout=timeout_s)
    except PoolTimeout:
        with contextlib.suppress(psycopg.Error):
            await pool.close()
        raise Unavailable(f"the database cannot be used: {await _reason(url)}", code="database_unavailable") from None
    return pool


def pool_figures(pool: AsyncConnectionPool) -> PoolFigures:
    """What the pool did since this was last asked."""
    figures = pool.pop_stats()
    size = figures.get("pool_size", 0)
    waited = figures.get("requests_queued", 0)
    return PoolFigures(
        size=size,
        max=pool.max_size,
        in_use=size - figures.get("pool_available", 0),
        waiting=figures.get("requests_waiting", 0),
        wait_ms=figures.get("requests_wait_ms", 0) / waited if waited else 0.0,
    )


def transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed when tried again: deadlock, serialisation, lock wait, lost link."""
    retry = (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable)
    return isinstance(error, retry) or is_away(error)


def temporary(error: BaseException) -> bool:
    """Whether it is the database's state that is wrong, not what was asked: it will be accepted some time later.

    Beside what is transient: a primary that is read-only after a failover, a statement that took too long.
    """
    return transient(error) or getattr(error, "sqlstate", None) in {_READ_ONLY, _QUERY_CANCELED}


def is_away(error: BaseException) -> bool:
    """Whether the database cannot be used just now: unreachable, shutting down, full, or no connection to lend."""
    if isinstance(error, PoolTimeout | PoolClosed):
        return True
    if isinstance(error, errors.OperationalError):
        state = error.sqlstate
        return state is None or (state[:2] in _AWAY_CLASSES and state != _QUERY_CANCELED)
    return isinstance(error, errors.InterfaceError) and "connection" in str(error)


@asynccontextmanager
async def advisory_lock(pool: AsyncConnectionPool, name: str) -> AsyncGenerator[bool]:
    """Hold the lock `name` of this schema if nobody else does; gives whether it is ours.

    It holds one connection of the pool. A lost connection loses the lock without a word: what it guards must be
    fenced by something else as well.
    """
    key = "hashtextextended(current_schema() || ':' || %s, 0)"
    async with pool.connection() as conn:
        row = await (await conn.execute(f"SELECT pg_try_advisory_lock({key})", (name,))).fetchone()
        ours = row is not None and row[0] is True
        try:
            yield ours
        finally:
            if ours:
                await _unlock(conn, key, name)


async def _unlock(conn: AsyncConnection[Any], key: str, name: str) -> None:
    try:
        await conn.execute(f"SELECT pg_advisory_unlock({key})", (name,))
    except psycopg.Error:
        await conn.close()  # a connection that cannot unlock must not go back into the pool with the lock


def _connection_arguments(schema: str, service: str) -> dict[str, Any]:
    options = [f"-c {name}={value}" for name, value in {"search_path": schema, **_SESSION}.items()]
    return {
        "autocommit": True,
        "application_name": service,
        "options": " ".join(options),
        "connect_timeout": _CONNECT_S,
        "context": _ADAPTERS,
    }


async def _reason(url: str) -> str:
    try:
        async with await AsyncConnection.connect(url, connect_timeout=2):
            return "it became reachable too late"
    except psycopg.Error as error:
        return _first_line(str(error))


def _first_line(text: str) -> str:
    lines: Sequence[str] = text.strip().splitlines()
    return lines[0] if lines else "no reason given"
