"""A projection: folds a whole stream into rows.

Each event exactly once, because rows and checkpoint are written in one transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database, journal_pages, metrics, tasks
from jobplane.chassis.bus import Connection
from jobplane.chassis.reader import Dropped, Message, StreamReader
from jobplane.contracts.envelope import EventRecord, event_from_message
from jobplane.contracts.errors import InvalidMessage, JobplaneError, Unavailable

log = structlog.get_logger()

_AGAIN_S: Final = 1.0
"""A standby tries so often to lead, and a leader to go on after a failure."""

_SLOWEST_S: Final = 15.0
"""An owner of a journal that stays away is asked so often."""

_WATCH_S: Final = 5.0
"""A restored database may go unnoticed so long while nothing is written."""

Fold = Callable[[AsyncConnection[Any], Sequence[EventRecord]], Awaitable[None]]
Bury = Callable[[AsyncConnection[Any], int, bytes, str], Awaitable[None]]
"""Records, in the same transaction, the event at a sequence that cannot be read, with its bytes and the reason."""


class Hole(JobplaneError):
    """Nobody has the event that comes next: going on would lose it."""


class Fenced(JobplaneError):
    """Another reader moved the checkpoint."""


def checkpoint_name(service: str, stream: str) -> str:
    """What the projection of a stream by a service that only derives calls its checkpoint."""
    return f"{service}.{stream}"


class Projection:
    """Follows one stream from its checkpoint; of several replicas one reads, the others stand by.

    `fold` writes the rows of some events (one or many, in order) through the given connection, in the checkpoint's
    transaction; it may be called again with the same events after a rollback. What the stream no longer has, it reads
    from the journal; while that cannot be asked, `waiting` says why. A hole stops the projection: `halted` says why.
    Having seen everything it rests for `rest_s`, so that its rows are at most so much older.
    """

    def __init__(
        self,
        pool: AsyncConnectionPool,
        nc: Connection,
        stream: str,
        name: str,
        fold: Fold,
        *,
        bury: Bury | None = None,
        batch: int = 500,
        rest_s: float = 0.0,
    ) -> None:
        self._pool = pool
        self._nc = nc
        self._stream = stream
        self._name = name
        self._fold = fold
        self._bury = bury
        self._batch = batch
        self._rest_s = rest_s
        self._task: asyncio.Task[None] | None = None
        self._next = 1
        self._waited_s = 0.0
        self.position = 0
        self.halted: str | None = None
        self.waiting: str | None = None

    def start(self) -> None:
        """Begin to follow the stream."""
        self._task = asyncio.create_task(self._run(), name=f"projection {self._name}")

    async def stop(self) -> None:
        """End after the transaction under way."""
        if self._task is not None:
            await tasks.end(self._task)

    async def _run(self) -> None:
        while self.halted is None:
            try:
                async with database.advisory_lock(self._pool, f"projection:{self._name}") as leads:
                    if leads:
                        await self._follow()
            except Hole as hole:
                await self._halt(str(hole))
                return
            except Fenced:
                log.warning("projection.fenced", projection=self._name)
            except Exception as error:
                if not database.is_away(error):
                    log.exception("projection.failed", projection=self._name)
            await asyncio.sleep(_AGAIN_S)

    async def _follow(self) -> None:
        async with self._pool.connection() as conn:
            insert = "INSERT INTO checkpoint (name) VALUES (%s) ON CONFLICT (name) DO NOTHING"
            await conn.execute(insert, (self._name,))
        self.position = await self._checkpoint()
        self._next = self.position + 1
        self._waited_s, self.waiting = 0.0, None
        working = {asyncio.create_task(self._read()), asyncio.create_task(self._watch())}
        try:
            ended, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in working:
                await tasks.end(task)

    async def _read(self) -> None:
        while True:
            await self._catch_up(await self._read_stream())

    async def _read_stream(self) -> int:
        """Follow the stream until retention took what comes next; gives the first sequence that is left."""
        reader = StreamReader(self._nc, self._stream, self._next, batch=self._batch, rest_s=self._rest_s, whole=True)
        try:
            async for messages in reader.batches():
                await self._take(messages)
        except Dropped as dropped:
            return dropped.first
        finally:
            await reader.close()
        return self._next

    async def _catch_up(self, first: int) -> None:
        """Read from the journal what comes before the first sequence of the stream; or wait, for another try."""
        if self.waiting is None:
            log.info("projection.catches_up", projection=self._name, next=self._next, stream_begins=first)
        try:
            while self._next < first:
                await self._read_page(first)
        except Unavailable as reason:
            await self._wait(str(reason))

    async def _read_page(self, first: int) -> None:
        page = await journal_pages.ask(self._nc, self._stream, self.position, self._batch)
        messages = journal_pages.between(page, self.position, first)
        if messages:
            await self._apply(messages)
        elif journal_pages.is_next(page, self.position, first):
            await self._write([], [], first - 1)  # or it would seem to be behind until the epoch has an event
        elif reason := journal_pages.undecided(page, first):
            raise Unavailable(reason)
        else:
            lacks = page.events[0].position if page.events else first
            msg = f"{self._stream} begins at {first}, and its journal has {lacks} where {self.position + 1} comes next"
            raise Hole(msg)
        self._waited_s, self.waiting = 0.0, None

    async def _wait(self, reason: str) -> None:
        """Let some time pass, longer each time."""
        if self.waiting != reason:
            log.warning("projection.waiting", projection=self._name, next=self._next, reason=reason)
        self.waiting = reason
        self._waited_s = min(2 * self._waited_s or _AGAIN_S, _SLOWEST_S)
        await asyncio.sleep(self._waited_s)

    async def _watch(self) -> None:
        """Notice a database that was restored from a copy, also while nothing happens that would be written to it.

        Raises:
            Fenced: the checkpoint is older than what was written: what came since is to be read again.
        """
        while True:
            await asyncio.sleep(_WATCH_S)
            written = self.position
            try:
                kept = await self._checkpoint()
            except Exception as error:
                if not database.is_away(error):
                    raise
                continue
            if kept < written:
                raise Fenced(self._name)

    async def _checkpoint(self) -> int:
        async with self._pool.connection() as conn:
            row = await (
                await conn.execute("SELECT position FROM checkpoint WHERE name = %s", (self._name,))
            ).fetchone()
        return 0 if row is None else int(row[0])

    async def _take(self, messages: Sequence[Message]) -> None:
        fresh = [message for message in messages if message[0] >= self._next]
        for expected, (sequence, _, _) in enumerate(fresh, start=self._next):
            if sequence != expected:
                msg = f"{self._stream} has {sequence} where {expected} comes next"
                raise Hole(msg)
        if fresh:
            await self._apply(fresh)

    async def _apply(self, messages: Sequence[Message]) -> None:
        """Write what these messages mean; they are known to come next."""
        events: list[EventRecord] = []
        unreadable: list[tuple[int, bytes, str]] = []
        for sequence, headers, data in messages:
            try:
                events.append(event_at(sequence, headers, data))
            except InvalidMessage as error:
                unreadable.append((sequence, data, str(error)))
        if unreadable and self._bury is None:
            msg = f"{self._stream} has an unreadable event at {unreadable[0][0]}: {unreadable[0][2]}"
            raise Hole(msg)
        await self._write(events, unreadable, messages[-1][0])

    async def _write(
        self, events: Sequence[EventRecord], unreadable: Sequence[tuple[int, bytes, str]], last: int
    ) -> None:
        async with self._pool.connection() as conn, conn.transaction():
            if events:
                await self._fold(conn, events)
            for sequence, data, reason in unreadable:
                if self._bury is not None:
                    await self._bury(conn, sequence, data, reason)
            move = "UPDATE checkpoint SET position = %s, moved_at = clock_timestamp() WHERE name = %s AND position = %s"
            if (await conn.execute(move, (last, self._name, self.position))).rowcount != 1:
                msg = self._name
                raise Fenced(msg)
        self.position, self._next = last, last + 1

    async def _halt(self, reason: str) -> None:
        self.halted = reason
        metrics.gauge("jobplane_projection_halted").labels(self._name).set(1)
        log.error("projection.halted", projection=self._name, reason=reason)
        async with self._pool.connection() as conn:
            await conn.execute("UPDATE checkpoint SET halted = %s WHERE name = %s", (reason, self._name))


def event_at(sequence: int, headers: dict[str, str] | None, data: bytes) -> EventRecord:
    """The event that the message at a sequence carries.

    Raises:
        InvalidMessage: it is none, or belongs elsewhere.
    """
    event = event_from_message(headers, data)
    if event.position != sequence:
        msg = f"an event that says it is {event.position} is at {sequence}"
        raise InvalidMessage(msg)
    return event
