"""The journal: an append-only, gapless log of events in Postgres, written in one lock order by everybody."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis.exchange import Parameter, Rows, Statement, exchange, rollback
from jobplane.chassis.new_events import APPEND, HELD, NewEvent, append_parameters, record_at
from jobplane.chassis.recent_events import RecentEvents
from jobplane.contracts.actors import Actor
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import EventId
from jobplane.contracts.queries import JournalFigures

log = structlog.get_logger()

HALTED: Final = "journal_diverged"
"""Code of the error while writes are halted."""
_APPEND_ALONE: Final = f"WITH {APPEND} SELECT base FROM head"  # noqa: S608 - constants
_HOLD_ALONE: Final = f"WITH {HELD} SELECT base FROM head"  # noqa: S608 - constants
_NOT_MIGRATED: Final = "journal_head is empty: the schema was not migrated"
_FIGURES: Final = "pos, epoch, first_pos, halted"
_SPACE: Final = 100_000
"""Positions that a new epoch leaves free, at least: ten times the lag of a relay that is a failure."""
_NEXT_FIRST: Final = f"((greatest(pos, %s) + {_SPACE}) / {_SPACE} + 1) * {_SPACE}"
_OPEN_EPOCH: Final = f"""
UPDATE journal_head SET epoch = epoch + 1, pos = {_NEXT_FIRST} - 1, first_pos = {_NEXT_FIRST}, halted = NULL
"""  # noqa: S608 - constants
_PAGE: Final = """
SELECT pos, stream_id, version, type, id, command_id, actor::text, reason, correlation_id, causation_id, traceparent,
at, data::text
FROM event WHERE pos > %s ORDER BY pos LIMIT %s
"""
_PAGE_AND_FIGURES: Final = f"""
SELECT head.pos, head.epoch, head.first_pos, head.halted, coalesce((SELECT min(pos) FROM event), 0), page.*
FROM journal_head AS head LEFT JOIN ({_PAGE}) AS page ON true ORDER BY page.pos
"""  # noqa: S608 - constants


class LockOrder(IntEnum):
    """What a writer may lock, in this order and no other; skipping is fine, going back is a bug."""

    NOTHING = 0
    OPERATION = 1
    QUEUES = 2
    UNIQUE_KEYS = 3
    ROWS = 4
    HEAD = 5
    """The journal's head; under it, command ids (sorted) and counters."""


Step = tuple[LockOrder, str, Sequence[Parameter]]
"""What a statement locks, its text with ``%s`` for each parameter, and the parameters."""


class _Locks:
    """What a transaction has locked so far."""

    def __init__(self) -> None:
        self._last = LockOrder.NOTHING

    def take(self, what: LockOrder) -> None:
        """Announce the next lock.

        Raises:
            RuntimeError: it comes before one that is already held, which could deadlock.
        """
        if what < self._last:
            msg = f"lock order violated: {what.name} after {self._last.name}"
            raise RuntimeError(msg)
        self._last = what


class Transaction:
    """One transaction of one writer, in pipeline mode: statements are queued until a result is fetched."""

    def __init__(self, journal: "Journal", conn: AsyncConnection[Any]) -> None:
        self._journal = journal
        self.conn = conn
        self._locks = _Locks()
        self.locking = self._locks.take
        self.head: int | None = None
        """The last position of this transaction, if it appended."""

    async def append(self, events: Sequence[NewEvent]) -> int:
        """Take the next positions and insert the events in the given order; gives the first position (0 for no events).

        Raises:
            Unavailable: the journal is halted (`journal_diverged`).
        """
        if not events:
            return 0
        self.locking(LockOrder.HEAD)
        cursor = await self.conn.execute(_APPEND_ALONE, append_parameters(events, self._journal.known))
        base = _base(await cursor.fetchall())
        self.head = base + len(events)
        return base + 1

    async def require_writable(self) -> None:
        """For a change without events: nothing is answered from a journal that may not be written.

        Raises:
            Unavailable: the journal is halted (`journal_diverged`).
        """
        self.locking(LockOrder.HEAD)
        cursor = await self.conn.execute(_HOLD_ALONE, self._journal.known)
        _base(await cursor.fetchall())


class Exchange:
    """One transaction of one writer in two round trips: what it reads, then what it writes together with the COMMIT.

    Without a `read` it is one: PostgreSQL takes what arrives in one round trip as one transaction.
    """

    def __init__(self, conn: AsyncConnection[Any], known: tuple[int, int]) -> None:
        self.known = known
        """Parameters of `WRITABLE`."""
        self._conn = conn
        self._locks = _Locks()
        self._begun = False
        self._last: list[Statement] = []
        self._events: Sequence[NewEvent] = ()
        self._tells_count = False
        self.last: Rows = []
        """What the last statement gave; known after the block."""
        self.head: int | None = None
        """The last position of this transaction, if it appended; known after the block."""

    async def read(self, *steps: Step) -> list[Rows]:
        """Begin, unless it has begun, and run these statements; gives the rows of each."""
        if self._begun:
            return await exchange(self._conn, *self._statements(steps))
        self._begun = True
        _, *found = await exchange(self._conn, ("BEGIN", ()), *self._statements(steps))
        return found

    def finish(self, *steps: Step, events: Sequence[NewEvent] = (), tells_count: bool = False) -> None:
        """Run these statements at the end of the block; the last gives `base` of `head`, no row of it means halted.

        `head` is that of `APPEND` if there are events, else that of `HELD`; a statement that makes events itself
        (`tells_count`) gives how many behind `base`.
        """
        self._last = self._statements(steps)
        self._events = events
        self._tells_count = tells_count

    async def commit(self) -> None:
        """Run what is left.

        Raises:
            Unavailable: the journal is halted (`journal_diverged`), and nothing was written.
        """
        statements = [*self._last, *([("COMMIT", ())] if self._begun else [])]
        found = await exchange(self._conn, *statements) if statements else []
        if not self._last:
            return
        self.last = found[len(self._last) - 1]
        base = _base(self.last)
        appended = int(self.last[0][1]) if self._tells_count else len(self._events)
        if appended:
            self.head = base + appended

    def appended(self) -> list[EventRecord]:
        """After the block: the events of this transaction at their positions."""
        first = (self.head or 0) - len(self._events) + 1
        return [record_at(position, event) for position, event in enumerate(self._events, start=first)]

    def _statements(self, steps: Sequence[Step]) -> list[Statement]:
        for lock, _, _ in steps:
            self._locks.take(lock)
        return [(text, parameters) for _, text, parameters in steps]


def _base(rows: Sequence[Sequence[Any]]) -> int:
    """The position before the first that was taken."""
    if not rows:
        detail = "Writes are halted: journal and bus disagree. Run 'jobplane status' and open a new epoch."
        raise Unavailable(detail, code=HALTED, retry_after_s=60)
    return int(rows[0][0])


class Journal:
    """One service's journal; `on_append` is called after each commit that added events (the relay listens)."""

    def __init__(self, pool: AsyncConnectionPool, on_append: Callable[[], None] = lambda: None) -> None:
        self.pool = pool
        self.on_append = on_append
        self.head = 0
        """The last position that this process has appended, or has seen on the bus; 0 before the first."""
        self.recent = RecentEvents()
        """What the relay need not read."""
        self._epoch = 0
        self.doubted = False
        """A write was refused as if halted: whoever compares journal and bus should do it anew."""

    @property
    def known(self) -> tuple[int, int]:
        """What the journal must not be older than: position and epoch, as `WRITABLE` wants them."""
        return self.head, self._epoch

    def note(self, figures: JournalFigures, relayed: int, known: tuple[int, int]) -> str | None:
        """Note what was seen of the journal and its stream; gives why this cannot be the journal that was seen before.

        `known` is from before the figures were asked for: meanwhile others append. A new epoch goes on from where its
        operator put it.
        """
        older = None
        head, epoch = known
        if figures.epoch < epoch:
            older = f"the journal is in epoch {figures.epoch}, it was in epoch {epoch}"
        elif figures.epoch == epoch and figures.position < head:
            older = f"the journal ends at {figures.position}, it had reached {head}"
        self.recent.clear()
        if figures.epoch != self._epoch:
            self._epoch, self.head = figures.epoch, figures.position
        self.see(relayed)
        return older

    def see(self, relayed: int) -> None:
        """Note that the stream has got so far: a journal that ends before is older, until it is in a new epoch."""
        self.head = max(self.head, relayed)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction of one writer.

        Committed at the end of the block, rolled back (positions too) by an exception.
        """
        async with self.pool.connection() as conn:
            tx = Transaction(self, conn)
            try:
                async with conn.pipeline(), conn.transaction():
                    yield tx
            finally:
                # A statement that fails with COMMIT already queued behind it leaves the failed transaction open.
                if conn.info.transaction_status in {TransactionStatus.INERROR, TransactionStatus.INTRANS}:
                    await conn.rollback()
        self._appended(tx.head)

    @asynccontextmanager
    async def exchange(self, on: AsyncConnection[Any] | None = None) -> AsyncIterator[Exchange]:
        """A transaction of a writer that knows all it will read, and then all it will write.

        Committed at the end of the block, undone (positions too) by an exception. Who has many in a row runs them `on`
        one connection: each of the others would have to plan their statements, too.
        """
        async with self.pool.connection() if on is None else contextlib.nullcontext(on) as conn:
            tx = Exchange(conn, self.known)
            try:
                yield tx
                await tx.commit()
            except BaseException as error:
                await rollback(conn)
                if isinstance(error, Unavailable) and error.code == HALTED:
                    self.doubted = True
                    self.on_append()
                raise
        self.recent.add(tx.appended())
        self._appended(tx.head)

    def _appended(self, head: int | None) -> None:
        if head is not None:
            self.head = max(self.head, head)
            self.on_append()

    async def after(self, position: int, limit: int) -> list[EventRecord]:
        """The events after a position, oldest first, at most `limit`."""
        async with self.pool.connection() as conn:
            rows = await (await conn.execute(_PAGE, (position, limit))).fetchall()
        return [record(row) for row in rows]

    async def page(self, position: int, limit: int) -> tuple[list[EventRecord], JournalFigures, int]:
        """The events after a position, the figures, and the position of the oldest event (0: none) at one moment."""
        async with self.pool.connection() as conn:
            rows = await (await conn.execute(_PAGE_AND_FIGURES, (position, limit))).fetchall()
        if not rows:
            raise RuntimeError(_NOT_MIGRATED)
        head, epoch, first, halted, kept_from = rows[0][:5]
        figures = JournalFigures(position=head, relayed=0, epoch=epoch, first=first, halted=halted)
        return [record(row[5:]) for row in rows if row[5] is not None], figures, kept_from

    async def event_id_at(self, position: int) -> str | None:
        """The id of the event at a position; none if there is no such event."""
        async with self.pool.connection() as conn:
            row = await (await conn.execute("SELECT id FROM event WHERE pos = %s", (position,))).fetchone()
        return None if row is None else str(row[0])

    async def event_ids_at(self, positions: Iterable[int]) -> dict[int, str]:
        """The ids of the events at these positions; without those where there is none."""
        async with self.pool.connection() as conn:
            cursor = await conn.execute("SELECT pos, id FROM event WHERE pos = ANY(%s)", (list(positions),))
            return {position: str(event_id) for position, event_id in await cursor.fetchall()}

    async def figures(self, relayed: int = 0) -> JournalFigures:
        """Head, epoch and whether writes are halted."""
        async with self.pool.connection() as conn:
            row = await (await conn.execute(f"SELECT {_FIGURES} FROM journal_head")).fetchone()  # noqa: S608 - constants
        if row is None:
            raise RuntimeError(_NOT_MIGRATED)
        return JournalFigures(position=row[0], relayed=relayed, epoch=row[1], first=row[2], halted=row[3])

    async def halt(self, reason: str, epoch: int) -> None:
        """Stop all writes durably until an operator opens a new epoch; a verdict about an earlier epoch is void."""
        statement = "UPDATE journal_head SET halted = %s WHERE halted IS NULL AND epoch = %s"
        async with self.pool.connection() as conn:
            halt = await conn.execute(statement, (reason, epoch))
        if halt.rowcount:
            log.error("journal.halted", reason=reason)

    async def open_epoch(self, stream_end: int) -> JournalFigures:
        """Go on after both histories: the next position is far beyond the journal's head and beyond `stream_end`.

        What only one of the two has stays where it is; positions between are never given out. Neither of them may know
        the last positions that were given: clients were told of them, their events had not reached the bus, and the
        database is one from before. Hence the space between. Writes are allowed again.
        """
        async with self.pool.connection() as conn:
            await conn.execute(_OPEN_EPOCH, (stream_end, stream_end))
        return await self.figures()


def record(row: Sequence[Any]) -> EventRecord:
    """The event in a row of the columns pos … data, as `Journal.after` selects them."""
    return EventRecord(
        position=row[0],
        stream_id=row[1],
        version=row[2],
        type=row[3],
        id=EventId(row[4]),
        command_id=row[5],
        actor=Actor.model_validate_json(row[6]),
        reason=row[7],
        correlation_id=row[8],
        causation_id=row[9],
        traceparent=row[10],
        at=row[11],
        data=row[12].encode(),
    )
