"""The web server inside our own process: a socket of ours, uvicorn without signal handlers, an end within a second."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from jobplane.contracts.errors import JobplaneError
from jobplane.gateway.gathered_writes import Protocol

_BACKLOG: Final = 1024
_GRACE_S: Final = 1
_HURRY_S: Final = 0.7


class Server(uvicorn.Server):
    """uvicorn, which leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        JobplaneError: the port is taken or not allowed, in one plain sentence.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol left open, asyncio would not switch off Nagle's algorithm: 40 ms for every answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        msg = f"Cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}."
        raise JobplaneError(msg) from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library has no keyword for it
    return listener


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    end_streams: Callable[[], Awaitable[None]],
    hurry: Callable[[], None],
    behind_proxy: bool,
) -> None:
    """Answer requests until told to stop; then `end_streams` is called, and whoever is being answered has a second.

    Shortly before that second is over `hurry` is called: an answer that says less is better than none.
    """
    server = Server(
        uvicorn.Config(
            app,
            loop="none",
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=behind_proxy,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=75,
        )
    )
    serving = asyncio.create_task(server.serve([listener]), name="http")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await end_streams()
    server.should_exit = True
    asyncio.get_running_loop().call_later(_HURRY_S, hurry)
    await serving
