"""The live stream: one reader per event stream, fanned out to all through one ring of recent events."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog
from nats.errors import Error as NatsError
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from jobplane.chassis import tasks
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.loops import Loop
from jobplane.chassis.reader import StreamReader
from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.contracts.queries import JournalFigures, Nothing
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from jobplane.gateway.control_bus import ControlBus
from jobplane.gateway.live_cursor import STREAMS, Cursor, render
from jobplane.gateway.live_ring import Entry, Ring, with_id

log = structlog.get_logger()

RING_EVENTS: Final = 8192
MOST_READERS: Final = 1000
KEEP_ALIVE_S: Final = 15.0
CHECK_S: Final = 2.0
"""How soon a reader notices that its session ended."""
_CHUNK: Final = 256
_REST_S: Final = 0.005
"""While somebody follows, events of so long come together: nobody sees the difference, and a busy stream is cheap."""
_UNWATCHED_REST_S: Final = 0.25
"""While nobody does, the ring is only kept for those who come back."""
_LOOK_S: Final = 10.0
_LOOK_FOR_MISSING_S: Final = 0.5
"""While a stream is missing that every installation has: relays make them at their first start."""
_ALWAYS_THERE: Final = frozenset({EVT_JOBS, EVT_ADMIN})
_REQUEST_S: Final = 2.0
_STREAM_NOT_FOUND: Final = 10059
_UNSETTLED: Final = b": the event streams cannot be followed just now, resume in a moment\n\n"
"""Going on would skip what happens before the place is known where a stream is followed from."""

StillValid = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The first and the last sequence that a stream still has."""

    first: int
    last: int


class LiveHub:
    """Follows the event streams once, for any number of readers; one that is too slow is sent away and may resume."""

    def __init__(self, nc: Connection, bus: ControlBus, journal: Journal, *, ring_events: int = RING_EVENTS) -> None:
        self.nc = nc
        self._bus = bus
        self._journal = journal
        self._ring_events = ring_events
        self.ring = Ring(ring_events)
        self.epoch = 1
        self.generation = 0
        self._missed = [False] * len(STREAMS)
        self._followers: dict[int, asyncio.Task[None]] = {}
        self._stream_readers: dict[int, StreamReader] = {}
        self._wakes: set[asyncio.Event] = set()
        self.closing = False
        self._looked_at = 0.0
        self._look = Loop("live streams", self._look_if_due, _LOOK_FOR_MISSING_S)

    @property
    def readers(self) -> int:
        """How many browsers and programs follow."""
        return len(self._wakes)

    @property
    def settled(self) -> bool:
        """Whether of every stream it is known where it is followed from, or that it does not exist."""
        return all(stream in self._followers or missed for stream, missed in enumerate(self._missed))

    @property
    def position(self) -> str:
        """The id that a reader has who has seen everything so far."""
        return render(self.epoch, self.ring.positions)

    async def start(self) -> None:
        """Follow every stream that exists; others are looked for now and then."""
        await self.look()
        self._look.start()

    async def stop(self) -> None:
        """End all readers."""
        self.closing = True
        self._wake()
        await self._look.stop()
        await self._unfollow()

    async def _look_if_due(self) -> None:
        followed = {STREAMS[stream] for stream in self._followers}
        if _ALWAYS_THERE - followed or time.monotonic() - self._looked_at >= _LOOK_S:
            await self.look()

    async def look(self) -> None:
        """Follow streams that appeared, and notice a new epoch of a journal."""
        self._looked_at = time.monotonic()
        try:
            theirs = await self._bus.ask("jobs", "journal", Nothing(), JournalFigures)
            ours = await self._journal.figures()
        except (JobplaneError, DatabaseError, PoolTimeout) as error:
            log.debug("live.epoch_unknown", error=str(error))
        else:
            # Epochs only grow, so their sum names each state of all journals once.
            await self._enter(theirs.epoch + ours.epoch - 1)
        for stream in range(len(STREAMS)):
            follower = self._followers.get(stream)
            if follower is None:
                await self._begin(stream)
            elif follower.done():
                log.error("live.follower_died", stream=STREAMS[stream], exc_info=follower.exception())
                self._start_follower(stream)

    async def _enter(self, epoch: int) -> None:
        if epoch == self.epoch:
            return
        log.info("live.epoch", epoch=epoch)
        self.epoch = epoch
        if self._followers:
            await self.restart()

    async def restart(self) -> None:
        """Forget everything and follow anew from now on; all readers are told to load everything anew."""
        await self._unfollow()
        self.ring = Ring(self._ring_events)
        self.generation += 1
        for stream in range(len(STREAMS)):
            await self._begin(stream)
        self._wake()

    async def _unfollow(self) -> None:
        followers, self._followers = list(self._followers.values()), {}
        for reader in self._stream_readers.values():
            await reader.close()
        self._stream_readers.clear()
        for follower in followers:
            await tasks.end(follower)

    async def _begin(self, stream: int) -> None:
        try:
            bounds = await self.bounds(stream)
        except Unavailable:
            return
        if bounds is None:
            self._missed[stream] = True
            return
        # A stream that was not there before is read from its beginning, so that readers miss nothing of it.
        self.ring.begin(stream, max(0, bounds.first - 1) if self._missed[stream] else bounds.last)
        self._missed[stream] = False
        self._start_follower(stream)

    def _start_follower(self, stream: int) -> None:
        self._followers[stream] = asyncio.create_task(self._follow(stream), name=f"live {STREAMS[stream]}")

    async def _follow(self, stream: int) -> None:
        ring = self.ring
        start = ring.positions[stream] + 1
        reader = self._stream_readers[stream] = StreamReader(self.nc, STREAMS[stream], start, rest_s=self._rest_s)
        async for messages in reader.batches():
            for sequence, headers, data in messages:
                ring.append(Entry(stream, sequence, headers, data))
            self._wake()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake.set()

    @property
    def _rest_s(self) -> float:
        return _REST_S if self._wakes else _UNWATCHED_REST_S

    def _watched_or_not(self) -> None:
        """The first reader came, or the last one went."""
        for reader in self._stream_readers.values():
            reader.rest(self._rest_s)

    def check_room(self) -> None:
        """Whether one more may follow.

        Raises:
            Unavailable: there are too many readers, or we are ending.
        """
        if len(self._wakes) >= MOST_READERS or self.closing:
            raise Unavailable("Too many live streams are open here. Close some, or try again later.", retry_after_s=30)

    async def events(self, cursor: Cursor | None, still_valid: StillValid) -> AsyncGenerator[bytes]:
        """What a reader gets: chunks of server-sent events after `cursor` (or from now on), until it should go."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        self._watched_or_not()
        try:
            async with aclosing(_Reader(self, cursor, still_valid, wake).run()) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._wakes.discard(wake)
            self._watched_or_not()

    async def bounds(self, stream: int) -> Bounds | None:
        """What a stream has; none if it does not exist."""
        try:
            message = await self.nc.request(f"$JS.API.STREAM.INFO.{STREAMS[stream]}", b"", _REQUEST_S)
        except (NatsError, OSError, TimeoutError) as error:
            raise Unavailable("The event streams cannot be reached just now.") from error
        info = json.loads(message.data)
        if "error" in info:
            if info["error"].get("err_code") == _STREAM_NOT_FOUND:
                return None
            raise Unavailable("The event streams cannot be reached just now.")
        return Bounds(info["state"]["first_seq"], info["state"]["last_seq"])


class _Reader:
    """One browser's or program's way through the ring."""

    def __init__(self, hub: LiveHub, cursor: Cursor | None, still_valid: StillValid, wake: asyncio.Event) -> None:
        self._hub = hub
        self._cursor = cursor
        self._still_valid = still_valid
        self._wake = wake
        self._seen: list[int] = []
        self._next = 0
        self._generation = hub.generation
        self._sent_at = self._checked_at = time.monotonic()
        self._welcome = True

    async def run(self) -> AsyncGenerator[bytes]:
        yield b"retry: 2000\n\n"
        if farewell := await self._farewell():
            yield farewell
            return
        try:
            async with aclosing(self._catch_up()) as chunks:
                async for chunk in chunks:
                    yield chunk
        except Unavailable:
            yield _UNSETTLED
            return
        async with aclosing(self._go_on()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _go_on(self) -> AsyncGenerator[bytes]:
        """What comes into the ring from now on."""
        hub = self._hub
        while True:
            if farewell := await self._farewell():
                yield farewell
                return
            if self._generation != hub.generation:
                self._generation = hub.generation
                yield self._reset("new_epoch")
            if self._next < hub.ring.first:
                yield b": too slow, resume with Last-Event-ID\n\n"
                return
            if self._next < hub.ring.end:
                if chunk := self._chunk():
                    self._sent_at = time.monotonic()
                    yield chunk
                continue
            await self._wait()
            if time.monotonic() - self._sent_at >= KEEP_ALIVE_S:
                self._sent_at = time.monotonic()
                yield b": keep-alive\n\n"

    async def _farewell(self) -> bytes | None:
        """Why this reader cannot stay, if it cannot."""
        if self._hub.closing:
            return b": the server is going away, resume in a moment\n\n"
        if not self._hub.settled:
            return _UNSETTLED
        return None if await self._valid() else b": the session ended\n\n"

    async def _valid(self) -> bool:
        """Whether the session that opened this still stands; looked up every `CHECK_S`."""
        now = time.monotonic()
        if self._welcome and now - self._checked_at >= CHECK_S:
            self._checked_at = now
            self._welcome = await self._still_valid()
        return self._welcome

    async def _wait(self) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(CHECK_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _catch_up(self) -> AsyncGenerator[bytes]:
        """Come to a place from which the ring has everything that is missing."""
        ring, cursor = self._hub.ring, self._cursor
        if cursor is None:
            self._seen, self._next = list(ring.positions), ring.end
            yield self._id()
            return
        pairs = zip(cursor.positions, ring.positions, strict=True)
        self._seen = [now if position is None else position for position, now in pairs]
        if cursor.epoch != self._hub.epoch:
            yield self._reset("new_epoch")
            return
        for stream in range(len(STREAMS)):
            if not await self._reachable(stream):
                yield self._reset("no_longer_kept")
                return
        while behind := [stream for stream, seen in enumerate(self._seen) if seen < ring.floors[stream]]:
            if self._hub.closing or not await self._valid():
                break
            async with aclosing(self._older(behind[0])) as chunks:
                async for chunk in chunks:
                    yield chunk
        self._next = ring.first
        yield self._id()

    async def _reachable(self, stream: int) -> bool:
        """Whether everything after what was seen still exists, and what was seen did exist."""
        ring, seen = self._hub.ring, self._seen[stream]
        if ring.floors[stream] <= seen <= ring.positions[stream]:
            return True
        bounds = await self._hub.bounds(stream)
        if bounds is None:
            return seen == 0
        return bounds.first <= seen + 1 <= bounds.last + 1

    async def _older(self, stream: int) -> AsyncGenerator[bytes]:
        """Read what the ring no longer has from the stream itself, until the ring has the rest."""
        hub = self._hub
        reader = StreamReader(hub.nc, STREAMS[stream], self._seen[stream] + 1)
        try:
            async for messages in reader.batches():
                parts: list[bytes] = []
                for sequence, headers, data in messages:
                    if sequence != self._seen[stream] + 1:
                        yield b"".join(parts) + self._reset("no_longer_kept")
                        return
                    self._seen[stream] = sequence
                    block = Entry(stream, sequence, headers, data).block()
                    parts.append(with_id(hub.epoch, tuple(self._seen), block))
                yield b"".join(parts)
                if self._seen[stream] >= hub.ring.floors[stream] or hub.closing or not await self._valid():
                    return
        finally:
            await reader.close()

    def _chunk(self) -> bytes:
        """The next events of the ring that this reader has not seen."""
        hub, seen, parts = self._hub, self._seen, []
        end = min(hub.ring.end, self._next + _CHUNK)
        for entry in hub.ring.between(self._next, end):
            if entry.position <= seen[entry.stream]:
                continue
            seen[entry.stream] = entry.position
            positions = tuple(seen)
            shared = positions == entry.after
            parts.append(entry.wire(hub.epoch) if shared else with_id(hub.epoch, positions, entry.block()))
        self._next = end
        return b"".join(parts)

    def _id(self) -> bytes:
        """An id without an event: where to resume if the connection breaks before the first one."""
        return f"id: {render(self._hub.epoch, self._seen)}\n\n".encode()

    def _reset(self, reason: str) -> bytes:
        """Tell the reader to load everything anew; it goes on from now."""
        ring = self._hub.ring
        self._seen, self._next = list(ring.positions), ring.end
        block = f'event: reset\ndata: {{"reason":"{reason}"}}\n\n'.encode()
        return with_id(self._hub.epoch, tuple(self._seen), block)
