"""Connections to NATS: an inbox prefix per user, endless reconnects with jitter, and no sending while disconnected."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import structlog
from nats import errors
from nats.aio.client import Client, Server
from nats.aio.msg import Msg
from nats.aio.transport import TcpTransport

from jobplane.chassis.wire import FastParser, Sink, frame, parse_headers
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.subjects import inbox_prefix

log = structlog.get_logger()

_POLL_S = 0.02
_FIRST_RETRY_S = 0.05
_SLOWEST_RETRY_S = 2.0
_PING_S = 15
_DEFAULT_PORT = 4222
_MOST_UNWRITTEN = 256 * 1024
_NO_RESPONDERS = "503"

Listener = Callable[[], Awaitable[None]]


class NotConnected(Unavailable, errors.ConnectionReconnectingError):
    """The bus is away just now; nothing was sent."""

    def __init__(self) -> None:
        super().__init__("the bus is not connected", code="bus_unavailable")

    def __str__(self) -> str:
        return self.detail


class Connection(Client):
    """A NATS client that refuses to send while disconnected.

    The library would keep messages and send them after a reconnect, when nobody waits for them any more: a command
    that was answered with "not accepted" would still be carried out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._listeners: dict[object, Listener] = {}
        self._sinks: dict[int, Sink] = {}
        self._ps = FastParser(self, self._sinks)
        self._answers = ""
        self._asked: dict[str, asyncio.Future[Msg]] = {}
        self._numbers = itertools.count(1)

    def add_reconnect_listener(self, listener: Listener) -> Callable[[], object]:
        """Call `listener` after every reconnect; the returned function ends that."""
        key = object()
        self._listeners[key] = listener
        return lambda: self._listeners.pop(key, None)

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Send a message.

        Raises:
            NotConnected: at once, while the connection is away.
        """
        self._check()
        await self._send_command(self._framed(subject, reply, headers, payload))
        await self._flush_pending()

    async def publish_all(self, messages: Iterable[tuple[str, dict[str, str] | None, bytes]]) -> None:
        """Send many messages (subject, headers, body) in one write.

        Raises:
            NotConnected: at once, while the connection is away.
        """
        frames = [self._framed(subject, "", headers, body) for subject, headers, body in messages]
        if frames:
            self._check()
            await self._send_command(b"".join(frames))
            await self._flush_pending()

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,  # noqa: FBT001, FBT002 - as in the library
        headers: dict[str, str] | None = None,
    ) -> Msg:
        """Ask, and wait for the first answer; one inbox of this connection serves all requests.

        Raises:
            NotConnected: at once, while the connection is away. NoRespondersError: nobody listens there.
            TimeoutError: of nats-py: no answer within `timeout` seconds.
        """
        if old_style:
            return await super().request(subject, payload, timeout, old_style, headers)
        if not self._answers:
            inbox = self.new_inbox()
            await self.subscribe_sink(f"{inbox}.*", self._answered)
            self._answers = inbox
        number = f"{self._answers}.{next(self._numbers)}"
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with asyncio.timeout(timeout):
                await self.publish(subject, payload, number, headers)
                message = await answer
        except TimeoutError:
            raise errors.TimeoutError from None
        finally:
            del self._asked[number]
        if message.headers and message.headers.get("Status") == _NO_RESPONDERS:
            raise errors.NoRespondersError
        return message

    def _answered(self, subject: str, reply: str, headers: dict[str, str] | None, body: bytes) -> None:
        answer = self._asked.get(subject)
        if answer is not None and not answer.done():
            answer.set_result(Msg(self, subject, reply, body, headers))

    def _framed(self, subject: str, reply: str, headers: dict[str, str] | None, body: bytes) -> bytes:
        """A message as the server reads it, unless the server would hang up: its headers count, too."""
        framed = frame(subject, reply, headers, body)
        if len(framed) > self._max_payload and len(framed) - framed.index(b"\n") - len(b"\n\r\n") > self._max_payload:
            raise errors.MaxPayloadError
        return framed

    def _check(self) -> None:
        """Refuse what would not be sent now."""
        if self.is_closed:
            raise errors.ConnectionClosedError
        if self.is_draining_pubs:
            raise errors.ConnectionDrainingError
        if not self.is_connected:
            raise NotConnected

    async def subscribe_sink(self, subject: str, sink: Sink) -> Callable[[], Awaitable[None]]:
        """Give every message on `subject` to `sink` as soon as it is read; the returned function ends that."""
        subscription = await self.subscribe(subject, cb=_nobody)
        sid = subscription._id  # noqa: SLF001 - the library has no public name for it
        self._sinks[sid] = _guarded(sink)

        async def end() -> None:
            self._sinks.pop(sid, None)
            await subscription.unsubscribe()

        return end

    async def _flush_pending(self, force_flush: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - as in the library
        """Write what is pending: at once if the socket takes it, otherwise by the library's writer.

        A task that only hands bytes on costs a turn of the event loop for each message. The library also swallows a
        cancellation that comes while it flushes, and the task would go on for ever.
        """
        writer = self._writer()
        if writer is not None and not force_flush:
            pending, self._pending, self._pending_data_size = self._pending, [], 0
            writer.writelines(pending)
            return None
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        flushed = await super()._flush_pending(force_flush)
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
        return flushed

    def _writer(self) -> asyncio.StreamWriter | None:
        """The socket, if it is connected and so little waits to be written that nobody has to wait for it."""
        if not self.is_connected or not isinstance(self._transport, TcpTransport):
            return None
        writer = self._transport._io_writer  # noqa: SLF001 - the library tells it nobody
        return None if writer is None or writer.transport.get_write_buffer_size() > _MOST_UNWRITTEN else writer

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        sink = self._sinks.get(sid)
        if sink is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            sink(subject.decode(), reply.decode(), parse_headers(headers) if headers else None, data)

    async def _process_op_err(self, error: Exception) -> None:
        """Give up the socket with what is unwritten: the next connection does not send it either.

        The library would wait until a peer that reads no more has read it.
        """
        if self.is_connected and isinstance(self._transport, TcpTransport) and self._transport._io_writer is not None:  # noqa: SLF001 - as above
            self._transport._io_writer.transport.abort()  # noqa: SLF001
            self._pending, self._pending_data_size = [], 0
        await super()._process_op_err(error)

    async def _process_pong(self) -> None:
        """Take the answer to a PING; the library's reading would end if its `flush` had given up meanwhile."""
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pings_outstanding = 0
            return
        await super()._process_pong()

    async def _read_loop(self) -> None:
        """Read until the end; the library ends for an error it does not expect, and would stay connected but deaf."""
        await super()._read_loop()
        if self.is_connected and self._reading_task is asyncio.current_task():
            log.error("bus.reading_ended")
            await self._process_op_err(errors.StaleConnectionError())

    async def reconnected(self) -> None:
        """Tell the listeners; a failing one does not keep the others from hearing it."""
        for listener in tuple(self._listeners.values()):
            try:
                await listener()
            except Exception:
                log.exception("bus.listener_failed")


async def connect(
    url: str, *, user: str, name: str, on_reconnect: Listener | None = None, timeout_s: float = 10.0
) -> Connection:
    """A connection as `user`, whose inboxes start with ``_INBOX_<user>``; it reconnects for ever once it stood.

    Permission denials, which the server tells nobody but the log, are logged as `bus.denied`.

    Raises:
        Unavailable: nobody answers within `timeout_s`, or the server refuses the credentials.
    """
    servers = [server.strip() for server in url.split(",")]
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                await _until_somebody_listens(servers)
                connection = await _try_to_connect(servers, user, name)
                if connection is not None:
                    break
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        detail = f"NATS does not answer at {_places(servers)}"
        raise Unavailable(detail, code="bus_unavailable") from None
    if on_reconnect is not None:
        connection.add_reconnect_listener(on_reconnect)
    return connection


async def close(connection: Client, *, timeout_s: float = 1.0) -> None:
    """Send what is pending and close; never raises, never takes longer than `timeout_s`."""
    with contextlib.suppress(errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            if connection.is_connected:
                await connection.flush()
    with contextlib.suppress(errors.Error, OSError, TimeoutError):
        async with asyncio.timeout(timeout_s):
            await connection.close()


async def _try_to_connect(servers: list[str], user: str, name: str) -> Connection | None:
    """A connection, or none if it is worth another try."""
    connection = Connection()
    state = _Watch(name, connection)
    try:
        # Reconnecting is allowed only afterwards: the library's own loop would hide refused credentials for ever.
        await connection.connect(
            servers,
            name=name,
            inbox_prefix=inbox_prefix(user),
            allow_reconnect=False,
            max_reconnect_attempts=-1,
            ping_interval=_PING_S,
            reconnect_to_server_handler=_next_server,
            error_cb=state.error,
            disconnected_cb=state.disconnected,
            reconnected_cb=state.reconnected,
            closed_cb=state.closed,
            drain_timeout=2,
        )
    except (errors.Error, OSError, TimeoutError) as error:
        await close(connection)
        if "authorization" in str(error).lower():
            detail = f"NATS at {_places(servers)} refuses the user {user}: check the credentials"
            raise Unavailable(detail, code="bus_credentials") from error
        return None
    connection.options["allow_reconnect"] = True
    return connection


def _guarded(sink: Sink) -> Sink:
    """The sink, unable to end the reading of the connection."""

    def give(subject: str, reply: str, headers: dict[str, str] | None, body: bytes) -> None:
        try:
            sink(subject, reply, headers, body)
        except Exception:
            log.exception("bus.sink_failed")

    return give


async def _nobody(_message: Msg) -> None:
    """The callback of a subscription whose messages go to a sink."""


class _Watch:
    """What happens to a connection, as log lines."""

    def __init__(self, name: str, connection: Connection) -> None:
        self._log = log.bind(connection=name)
        self._connection = connection

    async def error(self, error: Exception) -> None:
        text = str(error)
        if "permissions violation" in text.lower():
            self._log.error("bus.denied", detail=text)
        elif isinstance(error, errors.SlowConsumerError):
            self._log.error("bus.slow_consumer", subject=error.subject)
        elif isinstance(error, errors.Error | OSError | TimeoutError):
            self._log.debug("bus.error", detail=text or type(error).__name__)
        else:  # a subscription's callback failed: that is a bug of ours
            self._log.error("bus.callback_failed", exc_info=error)

    async def disconnected(self) -> None:
        if not self._connection.is_closed:
            self._log.warning("bus.disconnected")

    async def reconnected(self) -> None:
        self._log.info("bus.reconnected")
        await self._connection.reconnected()

    async def closed(self) -> None:
        self._log.debug("bus.closed")


def _next_server(servers: list[Server], _info: dict[str, Any]) -> tuple[Server, float]:
    """The server that failed least, and how long to wait before trying it: up to 2 s, with jitter."""
    server = min(servers, key=lambda candidate: candidate.reconnects)
    longest = min(_SLOWEST_RETRY_S, _FIRST_RETRY_S * 2 ** min(server.reconnects, 10))
    return server, random.uniform(longest / 2, longest)  # noqa: S311 - spreads reconnects, guards nothing


async def _until_somebody_listens(servers: list[str]) -> None:
    # The library waits two seconds between first attempts; a server that is just starting is there in 50 ms.
    while True:
        for server in servers:
            place = urlsplit(server if "://" in server else f"nats://{server}")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(place.hostname, place.port or _DEFAULT_PORT)
                writer.close()
                return
        await asyncio.sleep(_POLL_S)


def _places(servers: list[str]) -> str:
    """The addresses without credentials."""
    return ", ".join(server.rpartition("@")[2].removeprefix("nats://") for server in servers)
