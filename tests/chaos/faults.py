"""Everything that can be done to a platform under test, each noted in its history; nothing outside of it is touched."""

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil
from nats.aio.client import Client

from jobplane.local.problems import CannotStart
from tests.chaos.proxy import Proxy, Weather
from tests.chaos.stage import Stage
from tests.support import retention
from tests.support.waiting import eventually_sync

_RESTART_S: Final = 15.0
_RESERVE: Final = "filler"


class NotPossible(Exception):
    """This machine does not allow the fault; the scenario is reported as left out."""


class Faults:
    """The faults of one run; `count` says how many there were."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._spare_workers = 0
        self.count = 0

    def note(self, what: str, **facts: object) -> None:
        """Remember that a fault begins."""
        self.count += 1
        self._stage.history.note("fault", fault=what, **facts)

    def kill(self, name: str) -> None:
        """End a process without warning (kill -9); servers are started again at once, services revive by themselves."""
        self.note("kill", victim=name)
        pid = self._stage.signal(name, signal.SIGKILL)
        if name in self._stage.workers:
            self._stage.workers.pop(name).wait()
            self.spare_worker()
        elif name in {"nats", "postgres"}:
            self.restart(name)
        else:
            eventually_sync(lambda: self._stage.pid(name) != pid, timeout=_RESTART_S)

    def spare_worker(self) -> str:
        """One more worker."""
        self._spare_workers += 1
        name = f"spare{self._spare_workers}"
        self._stage.start_worker(name)
        return name

    def restart(self, name: str) -> None:
        """Start a server that has ended; what its last life left behind may take a moment to go."""
        server = self._stage.nats if name == "nats" else self._stage.postgres
        assert server is not None
        server.process.wait(_RESTART_S)
        eventually_sync(lambda: self._started(name), timeout=_RESTART_S)

    def _started(self, name: str) -> bool:
        try:
            if name == "nats":
                self._stage.start_nats()
            else:
                self._stage.start_postgres()
        except CannotStart:
            return False
        return True

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Stop a process, and those it started, with SIGSTOP inside the block."""
        self.note("freeze", victim=name)
        pids = self._family(name)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                _wake(pid)

    def _family(self, name: str) -> list[int]:
        pid = self._stage.pid(name)
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]

    @contextmanager
    def bus_down(self) -> Iterator[None]:
        """No NATS inside the block."""
        self.note("bus down")
        self._stage.stop_nats()
        try:
            yield
        finally:
            self.restart("nats")

    def wipe_bus(self) -> None:
        """NATS loses every stream."""
        self.note("bus wiped")
        self._stage.stop_nats()
        self._stage.history.note("bus_wiped")
        shutil.rmtree(self._stage.nats_directory)
        self.restart("nats")

    def drop_events(self, stream: str, kept: int) -> int:
        """Let retention take all but the last messages of a stream, as it does in a month; gives its first sequence."""

        async def drop(client: Client) -> int:
            return await retention.keep(client, stream, kept)

        first = self._stage.on_bus(drop)
        self.note("retention", stream=stream, first=first)
        self._stage.history.note("dropped", stream=stream, first=first)
        return first

    @contextmanager
    def database_down(self) -> Iterator[None]:
        """No PostgreSQL inside the block."""
        self.note("database down")
        self._stage.stop_postgres()
        try:
            yield
        finally:
            self.restart("postgres")

    @property
    def _backup(self) -> Path:
        return self._stage.directory / "backup"

    def copy_database(self) -> None:
        """Take a copy of the database's files, while it is stopped for a moment."""
        self._stage.history.note("copied")
        with self.database_down():
            shutil.copytree(self._stage.postgres_directory, self._backup)

    def restore_database(self) -> None:
        """Put the copy in the place of the database."""
        with self.database_down():
            shutil.rmtree(self._stage.postgres_directory)
            self._backup.rename(self._stage.postgres_directory)
        self._stage.history.note("restored")

    @contextmanager
    def weather(self, proxy: Proxy, weather: Weather) -> Iterator[Weather]:
        """Break connections through a proxy inside the block."""
        target = "database" if proxy is self._stage.database_proxy else "bus"
        facts = {name: getattr(weather, name) for name in Weather.__slots__ if name not in {"held", "users"}}
        told = {name: str(value) for name, value in facts.items() if value}
        self.note("weather", target=target, users=sorted(weather.users), **told)
        proxy.set(weather)
        try:
            yield weather
        finally:
            proxy.clear()

    @contextmanager
    def away(self, proxy: Proxy, *users: str) -> Iterator[None]:
        """A server cannot be reached by some users (or by nobody) inside the block."""
        weather = Weather(users=frozenset(users), refuse=True)
        with self.weather(proxy, weather):
            proxy.cut(weather)
            yield

    @contextmanager
    def disk_full(self, mount: Path) -> Iterator[None]:
        """Fill the small file system of a server inside the block."""
        self.note("disk full", mount=str(mount))
        filler = mount / _RESERVE
        with filler.open("wb") as file:
            _fill(file.fileno())
        try:
            yield
        finally:
            filler.unlink()


@contextmanager
def small_disks(*mounts: tuple[Path, int]) -> Iterator[None]:
    """File systems of so many MiB, in memory.

    Raises:
        NotPossible: the right to mount is missing.
    """
    with ExitStack() as stack:
        for path, size_mib in mounts:
            path.mkdir(parents=True, exist_ok=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=700", "none", str(path)]
            if subprocess.run(command, check=False, capture_output=True).returncode != 0:
                raise NotPossible("a small file system cannot be mounted here")
            stack.callback(subprocess.run, ["umount", "--lazy", str(path)], check=False)
        yield


def _fill(descriptor: int) -> None:
    for size in (1024 * 1024, 4096, 1):
        chunk = b"\0" * size
        try:
            while True:
                os.write(descriptor, chunk)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _wake(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
