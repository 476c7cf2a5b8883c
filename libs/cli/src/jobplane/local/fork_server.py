"""The parent's side of the fork server: start children by module name, hear of their ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobplane.local import processes
from jobplane.local.problems import CannotStart


@dataclass(frozen=True, slots=True)
class Started:
    """A child runs."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A child is gone; a negative code is the signal that ended it."""

    name: str
    pid: int
    code: int


@dataclass(frozen=True, slots=True)
class Preloaded:
    """The fork server has imported everything and can fork at once."""

    threads: int
    """Must be 1: a fork copies no other thread, and what it held stays locked for ever."""


class Gone:
    """The fork server itself ended, and its children with it."""


Fact = Started | Ended | Preloaded | Gone


class ForkServer:
    """One fork server process. Requests sent before it has imported everything wait in its socket."""

    def __init__(self, modules: Sequence[str], log: Path) -> None:
        self._log = log
        self.channel, theirs = socket.socketpair()
        theirs.set_inheritable(True)
        self._process = _launch(theirs.fileno(), modules, log)
        theirs.close()
        self._pending = b""

    def spawn(self, name: str, module: str, environment: Mapping[str, str], log: Path) -> None:
        """Fork a child that runs `module.main()` with exactly this environment."""
        try:
            self._send(name=name, module=module, environment=dict(environment), log=str(log))
        except ConnectionError as error:
            raise self.failure() from error

    def signal(self, name: str, sign: signal.Signals) -> None:
        """Send a signal to the child of that name, if it lives; with the fork server it ends anyway."""
        with contextlib.suppress(ConnectionError):
            self._send(name=name, signal=int(sign))

    def facts(self) -> list[Fact]:
        """What happened since the last call; waits if nothing has. Call it when `channel` is readable."""
        try:
            data = self.channel.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            return [Gone()]
        self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        return [_fact(json.loads(line)) for line in lines]

    def failure(self) -> CannotStart:
        """Why it ended, as a sentence."""
        return CannotStart(f"The services could not be loaded: {processes.last_words(self._log, lines=1)}")

    def close(self, *, timeout_s: float) -> None:
        """End the children that still live, then the fork server."""
        self.channel.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, **request: object) -> None:
        self.channel.sendall(json.dumps(request).encode() + b"\n")


def _launch(channel: int, modules: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "jobplane.local.zygote", str(channel), *modules],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            pass_fds=[channel],
            start_new_session=True,
        )


def _fact(told: Mapping[str, str | int]) -> Fact:
    match told:
        case {"started": str(name), "pid": int(pid)}:
            return Started(name, pid)
        case {"ended": str(name), "pid": int(pid), "code": int(code)}:
            return Ended(name, pid, code)
        case {"threads": int(threads)}:
            return Preloaded(threads)
        case _:
            message = f"the fork server told something unknown: {told}"
            raise ValueError(message)
