"""The fork server: imports every service once, then forks each process from itself on request.

Six processes that import the stack themselves cost seconds and 460 MB; forked ones share what is imported.
It stays free of threads, loops and connections, because a fork copies none of them. It speaks JSON lines with its
parent over one socket, and when that closes (the parent is gone, however it went) it ends its children and itself.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from jobplane.local.processes import call_itself, die_with_parent

_FAREWELL_S = 4.0
_STOPPED_BY_US = 70
"""Exit code of a child whose `main` raised."""


class Zygote:
    """The children by process id, and the socket to the parent."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, str] = {}
        self._pending = b""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def preload(self, modules: list[str]) -> None:
        """Import what the children will run."""
        for module in modules:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()  # imported objects stay on pages that nobody writes to
        threads = sum(1 for _ in Path("/proc/self/task").iterdir())
        self._tell(threads=threads)

    def serve(self) -> None:
        """Answer requests and report ends until the parent is gone."""
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: None)  # the parent closes the socket when it is time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            readable, _, _ = select.select([self._channel.fileno(), self._wake_read], [], [])
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
                self._reap()
            if self._channel.fileno() in readable and not self._read():
                self._farewell()
                return

    def _read(self) -> bool:
        data = self._channel.recv(65536)
        self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "signal" in request:
                self._signal(request["name"], request["signal"])
            else:
                self._spawn(request)
        return bool(data)

    def _signal(self, name: str, number: int) -> None:
        for pid, child in self._children.items():
            if child == name:
                os.kill(pid, number)

    def _spawn(self, request: dict[str, Any]) -> None:
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # our handler must not eat one meant for the child
        pid = os.fork()
        if pid == 0:
            self._become(request, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        self._children[pid] = request["name"]
        self._tell(started=request["name"], pid=pid)

    def _become(self, request: dict[str, Any], parent: int) -> NoReturn:
        """In the child: cut every tie with the zygote, then be the service."""
        code = _STOPPED_BY_US
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            os.setsid()
            die_with_parent(signal.SIGTERM, parent)
            call_itself(f"jp-{request['name']}")
            self._channel.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            _redirect(Path(request["log"]))
            os.environ.clear()
            os.environ.update(request["environment"])
            sys.argv = [f"jobplane-{request['name']}"]
            _reseed()
            gc.enable()
            importlib.import_module(request["module"]).main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
        except BaseException:  # noqa: BLE001 - the last frame of a process: say it in the log and end
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._tell(ended=self._children.pop(pid), pid=pid, code=os.waitstatus_to_exitcode(status))

    def _farewell(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _FAREWELL_S
        while self._children:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if select.select([self._wake_read], [], [], left)[0]:
                os.read(self._wake_read, 4096)
                self._reap()
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _tell(self, **fact: object) -> None:
        try:
            self._channel.sendall(json.dumps(fact).encode() + b"\n")
        except OSError as error:  # the parent is gone; the read loop notices and ends everything
            sys.stderr.write(f"nobody to tell {fact}: {error}\n")


def _redirect(log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)


def _reseed() -> None:
    """A fork copies generators of random numbers; Python reseeds its own, this one must be told."""
    import uuid_utils  # noqa: PLC0415 - imported already when it matters

    uuid_utils.reseed_rng()


def main() -> None:
    """`python -m jobplane.local.zygote FD MODULE…`: FD is the inherited end of a socket pair."""
    gc.disable()
    call_itself("jp-fork-server")
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    zygote = Zygote(channel)
    zygote.preload(sys.argv[2:])
    zygote.serve()


if __name__ == "__main__":
    main()
