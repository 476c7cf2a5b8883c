"""The loopback probe of a process: /healthz (it lives), /readyz (it can work) and /metrics; no web framework."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

log = structlog.get_logger()

Ready = Callable[[], Awaitable[bool | str]]
"""True, or why not."""

_LOOPBACK: Final = "127.0.0.1"
_REQUEST_S: Final = 2.0
_READY_S: Final = 1.5
_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class Probe:
    """Answers GET and HEAD, one request per connection."""

    def __init__(self, port: int, ready: Ready) -> None:
        self._port = port
        self._ready = ready
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; gives the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, _LOOPBACK, self._port, limit=8192)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop listening. Doing it again does nothing."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_S):
                head = await reader.readuntil(b"\r\n\r\n")
                method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
                status, kind, body = await self._answer(method, rest.partition(" ")[0].partition("?")[0])
                lines = (
                    f"HTTP/1.1 {status} {_REASONS[status]}",
                    f"Content-Type: {kind}",
                    f"Content-Length: {len(body)}",
                    "Connection: close",
                )
                writer.write("\r\n".join((*lines, "", "")).encode() + (b"" if method == "HEAD" else body))
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _answer(self, method: str, path: str) -> tuple[int, str, bytes]:
        if method not in {"GET", "HEAD"}:
            return 405, _TEXT, b"only GET and HEAD\n"
        match path:
            case "/healthz":
                return 200, _TEXT, b"ok\n"
            case "/readyz":
                verdict = await self._verdict()
                return (200, _TEXT, b"ready\n") if verdict is True else (503, _TEXT, f"{verdict}\n".encode())
            case "/metrics":
                from jobplane.chassis.metrics import text  # noqa: PLC0415 - a process nobody scrapes needs none of it

                return 200, _METRICS, text()
        return 404, _TEXT, b"not here\n"

    async def _verdict(self) -> bool | str:
        try:
            async with asyncio.timeout(_READY_S):
                verdict = await self._ready()
        except TimeoutError:
            return "not ready: no answer in time"
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is "not ready", and the reason is given
            return f"not ready: {type(error).__name__}"
        return "not ready" if verdict is False else verdict
