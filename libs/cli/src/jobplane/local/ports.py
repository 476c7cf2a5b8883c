"""Loopback TCP ports: which are free, and when somebody answers."""

import contextlib
import errno
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"
_POLL_S = 0.005
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 20_000
_TRIES = 100


def free_port() -> int:
    """A port that nobody listens on, outside of those that outgoing connections take while we are stopped."""
    lowest_outgoing = int(_OUTGOING.read_text().split()[0]) if _OUTGOING.exists() else 0
    for _ in range(_TRIES if lowest_outgoing > _LOWEST else 0):
        candidate = _LOWEST + secrets.randbelow(lowest_outgoing - _LOWEST)
        if is_free(candidate):
            return candidate
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Whether this process could listen on the port. Raises PermissionError for a privileged port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        return True


def keep_or_choose(kept: Mapping[str, int], names: Iterable[str], *, taken: int = 0) -> dict[str, int]:
    """A port for each name, no two alike and none of them `taken`: that of the last start if it is still free."""
    chosen: dict[str, int] = {}
    for name in names:
        port = kept.get(name)
        while port is None or port in {taken, *chosen.values()} or not is_free(port):
            port = free_port()
        chosen[name] = port
    return chosen


def answers(port: int) -> bool:
    """Whether somebody accepts connections on the port."""
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=0.2):
        return True
    return False


def wait_until(ready: Callable[[], bool], *, timeout_s: float) -> bool:
    """Ask again every few milliseconds; False when the time is over."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
