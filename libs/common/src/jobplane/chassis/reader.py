"""Reads a stream in order and without gap: pulls by hand into one inbox, the next pull sent ahead."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from nats.errors import Error as NatsError

from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id

log = structlog.get_logger()

Message = tuple[int, dict[str, str] | None, bytes]
"""Sequence, headers, body."""

_PULL_EXPIRES_S: Final = 30
_HEARTBEAT_S: Final = 2
_SILENCE_S: Final = 2.5 * _HEARTBEAT_S
_FORGOTTEN_S: Final = 30
_BUFFER_BYTES: Final = 8 * 1024 * 1024
_RETRY_S: Final = 0.25
_REQUEST_S: Final = 3.0
_NANO: Final = 1_000_000_000


class Dropped(Exception):
    """The stream no longer has what comes next: `first` is the first sequence that it has, or will get."""

    def __init__(self, stream: str, first: int) -> None:
        super().__init__(f"{stream} begins at {first}")
        self.first = first


class _Lost(Exception):
    """The consumer is gone, or what it sent has a gap; another one begins where we are."""


class StreamReader:
    """Follows one stream from the sequence `start`.

    The consumer lives in the server's memory and may vanish at any time (restart, failover, a stream made anew): then
    another one takes up at the next sequence. Sequences already given are never given again. What retention dropped
    shows as a jump of the sequence; a reader of the `whole` stream ends with `Dropped` instead.

    A reader that has seen everything rests for up to `rest_s` after each batch: what happens meanwhile gathers in the
    stream and comes at once. So a busy stream costs one awakening per rest instead of one per message; the first
    message after a quiet time still comes at once, and a reader that is behind does not rest.
    """

    def __init__(
        self,
        nc: Connection,
        stream: str,
        start: int,
        *,
        batch: int = 500,
        rest_s: float = 0.0,
        whole: bool = False,
    ) -> None:
        self._nc = nc
        self._stream = stream
        self._next = start
        self._batch = batch
        self._rest_s = rest_s
        self._whole = whole
        self._doubted = 0
        self._rests_until = 0.0
        self._buffer: list[Message] = []
        self._buffered_bytes = 0
        self._requested = 0
        self._delivered = 0
        self._behind = 0
        self._inbox = ""
        self._consumer = ""
        self._unsubscribe: Callable[[], Awaitable[None]] | None = None
        self._lost = False
        self._closed = False
        self._arrived = asyncio.Event()
        self._forget_listener = nc.add_reconnect_listener(self._reconnected)

    @property
    def next_sequence(self) -> int:
        """What will be given next, or the first after a jump."""
        return self._next

    def rest(self, rest_s: float) -> None:
        """From now on rest so long, also in the rest under way."""
        self._rests_until += rest_s - self._rest_s
        self._rest_s = rest_s
        self._arrived.set()

    async def batches(self) -> AsyncIterator[list[Message]]:
        """Messages in order, 1 to `batch` at a time, for ever: waits for new ones, and for the bus while it is away.

        Raises:
            Dropped: retention took what comes next, and all of the stream is to be read.
        """
        warned = False
        while not self._closed:
            try:
                await self._begin()
                warned = False
                while not self._closed:
                    yield await self._take()
            except (_Lost, NatsError, OSError, TimeoutError) as error:
                if not warned and not self._closed:
                    log.info("reader.restarts", stream=self._stream, next=self._next, reason=str(error) or repr(error))
                warned = True
                await self._end(delete=False)
                await self._pause()

    async def close(self) -> None:
        """End; a waiting `batches` returns. Doing it again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._arrived.set()
        self._forget_listener()
        await self._end(delete=True)

    async def _begin(self) -> None:
        self._lost = False
        self._buffer = []
        self._buffered_bytes = self._requested = self._delivered = self._behind = 0
        self._inbox = self._nc.new_inbox()
        name = f"reader-{new_id()}"
        self._unsubscribe = await self._nc.subscribe_sink(self._inbox, self._receive)
        config = {
            "name": name,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": self._next,
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": _FORGOTTEN_S * _NANO,
            "num_replicas": 1,
            "mem_storage": True,
        }
        request = json.dumps({"stream_name": self._stream, "config": config}).encode()
        subject = f"$JS.API.CONSUMER.CREATE.{self._stream}.{name}"
        answer = json.loads((await self._nc.request(subject, request, timeout=_REQUEST_S)).data)
        if "error" in answer:
            raise _Lost(answer["error"].get("description", "refused"))
        self._consumer = name
        first = int(answer["delivered"]["stream_seq"]) + 1
        if self._whole and first > self._next:
            raise Dropped(self._stream, first)
        await self._pull()

    async def _end(self, *, delete: bool) -> None:
        """Leave the consumer; the server forgets it after a while, unless told now."""
        unsubscribe, self._unsubscribe = self._unsubscribe, None
        consumer, self._consumer = self._consumer, ""
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            if unsubscribe is not None:
                await unsubscribe()
            if delete and consumer:
                await self._nc.request(f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", timeout=1)

    async def _take(self) -> list[Message]:
        while True:
            self._arrived.clear()
            if self._buffer and self._gathered():
                self._insist()
                messages = self._buffer[: self._batch]
                if self._whole and messages[-1][0] - messages[0][0] >= len(messages):
                    messages = _until_jump(messages)
                del self._buffer[: len(messages)]
                self._buffered_bytes -= sum(len(message[2]) for message in messages)
                self._next = messages[-1][0] + 1
                # The fuller the batch the shorter the rest, so that never much more than one batch gathers.
                self._rests_until = time.monotonic() + self._rest_s * (1 - len(messages) / self._batch)
                if self._behind or not self._rest_s:
                    await self._pull()
                return messages
            if self._lost:
                raise _Lost(f"consumer of {self._stream} is gone")
            await self._wait()
            if self._closed:
                raise _Lost("closed")

    def _insist(self) -> None:
        """Begin again once where the sequence jumps: another consumer tells whether retention took what is missing."""
        if self._whole and self._buffer[0][0] > self._next and self._doubted != self._next:
            self._doubted = self._next
            raise _Lost(f"{self._stream} gave {self._buffer[0][0]} where {self._next} comes next")

    def _gathered(self) -> bool:
        """Whether all has come that was there when the server was asked, or as much as may be given at once."""
        return not (self._rest_s and self._behind and self._requested) or len(self._buffer) >= self._batch or self._lost

    async def _wait(self) -> None:
        """Wait for messages, or for the end of the rest."""
        left_s = 0.0 if self._behind else self._rests_until - time.monotonic()
        if left_s <= 0:
            await self._pull()
        try:
            async with asyncio.timeout(left_s if left_s > 0 else _SILENCE_S):
                await self._arrived.wait()
        except TimeoutError:
            if left_s <= 0:
                raise

    async def _pull(self) -> None:
        """Ask for more while at most one batch is on its way or unread, so that the server never waits for us."""
        if self._lost or self._requested + len(self._buffer) > self._batch or self._buffered_bytes > _BUFFER_BYTES:
            return
        wanted, ends_early = self._batch, False
        if self._rest_s:
            # What is there already; or, having seen all, whatever is there as soon as there is anything.
            wanted = min(self._batch, self._behind - self._requested) if self._behind else self._batch
            ends_early = not self._behind
            if wanted <= 0 or (ends_early and self._requested):
                return
        self._requested += wanted
        request = {
            "batch": wanted,
            "max_bytes": _BUFFER_BYTES,
            "expires": _PULL_EXPIRES_S * _NANO,
            "idle_heartbeat": _HEARTBEAT_S * _NANO,
            "no_wait": ends_early,
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await self._nc.publish(subject, json.dumps(request).encode(), reply=self._inbox)

    def _receive(self, _subject: str, reply: str, headers: dict[str, str] | None, body: bytes) -> None:
        if not reply:
            self._status(headers or {})
            self._arrived.set()
            return
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream sequence>.<consumer sequence>.<time>.<pending>; the newer
        # form has domain and account before, and one more token behind.
        tokens = reply.split(".")
        at = 5 if len(tokens) == 9 else 7  # noqa: PLR2004 - the older form
        self._requested -= 1
        self._delivered += 1
        if int(tokens[at + 1]) != self._delivered:
            self._lost = True  # messages were dropped on the way
        sequence, self._behind = int(tokens[at]), int(tokens[at + 3])
        # A stream made anew that is still filling up begins earlier than asked for.
        if not self._lost and sequence >= self._next:
            self._buffer.append((sequence, headers, body))
            self._buffered_bytes += len(body)
        self._arrived.set()

    def _status(self, headers: dict[str, str]) -> None:
        """A heartbeat came, or a pull ended before it was filled."""
        status, reason = headers.get("Status"), headers.get("Description", "")
        if status == "100":
            self._behind = 0  # it has nothing for us, whatever was there when it sent the last message
            return
        if reason == "Batch Completed":
            return
        if status in {"404", "408"} or reason == "Message Size Exceeds MaxBytes":
            self._requested = max(0, self._requested - int(headers.get("Nats-Pending-Messages", self._batch)))
            return
        self._lost = True  # 503: no such consumer; 409: deleted, or its server is going away

    async def _reconnected(self) -> None:
        """Pulls sent before are forgotten, and the consumer may be: begin again."""
        self._lost = True
        self._arrived.set()

    async def _pause(self) -> None:
        if not self._closed:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_S):
                    await self._arrived.wait()


def _until_jump(messages: list[Message]) -> list[Message]:
    first = messages[0][0]
    return [message for number, message in enumerate(messages) if message[0] == first + number]
