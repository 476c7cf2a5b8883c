"""The data directory: where each thing lies in it, who may use it, and whether it can be used at all."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from jobplane.local.problems import CannotStart

DEFAULT: Final = Path(".jobplane")
_FREE_BYTES = 256 * 1024 * 1024
"""Less free disk than this and nothing is started: both servers would stop at the first burst."""

_LONG_LOG_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """Names inside one data directory; nothing is read or written by asking for them."""

    root: Path

    @property
    def credentials(self) -> Path:
        """Secrets and ports."""
        return self.root / "credentials.json"

    @property
    def connection(self) -> Path:
        """How the command line reaches the platform."""
        return self.root / "connection.json"

    @property
    def worker_connection(self) -> Path:
        """How a worker of your own reaches the platform."""
        return self.root / "worker.json"

    @property
    def producer_connection(self) -> Path:
        """How a service of your own enqueues jobs."""
        return self.root / "producer.json"

    @property
    def nats_users(self) -> Path:
        """The `authorization` section for an operator's NATS."""
        return self.root / "nats-users.conf"

    @property
    def postgres(self) -> Path:
        """The embedded database's files."""
        return self.root / "postgres"

    @property
    def nats(self) -> Path:
        """The embedded NATS server's files."""
        return self.root / "nats"

    @property
    def assets(self) -> Path:
        """The object store of a single machine."""
        return self.root / "assets"

    @property
    def demo(self) -> Path:
        """Where the demo pictures are made."""
        return self.root / "demo"

    @property
    def logs(self) -> Path:
        """One file per process."""
        return self.root / "logs"

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.logs / f"{name}.log"


@contextmanager
def in_use(path: Path) -> Iterator[DataDirectory]:
    """Make the directory if needed and keep it for this process alone.

    Raises CannotStart if another process has it, the right to write is missing or the disk is full.
    """
    data = DataDirectory(path.absolute())
    with plainly(data.root):
        data.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        data.logs.mkdir(mode=0o700, exist_ok=True)
        data.assets.mkdir(mode=0o700, exist_ok=True)
        lock = (data.root / "lock").open("a+")
    with lock:
        _take(lock, data.root)
        _refuse_full_disk(data.root)
        with plainly(data.logs):
            _set_aside_long_logs(data.logs)
        yield data


def _take(lock: IO[str], root: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        message = (
            f"{root} is in use by another `jobplane up` (process {holder}): stop it, or use another --data directory."
        )
        raise CannotStart(message) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _set_aside_long_logs(logs: Path) -> None:
    """A log that grew long makes room for a new one; one older file of each is kept."""
    for log in logs.glob("*.log"):
        if log.stat().st_size > _LONG_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))


def _refuse_full_disk(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < _FREE_BYTES:
        message = (
            f"The disk of {root} is full: {free // 1024**2} MB are free, {_FREE_BYTES // 1024**2} MB are needed. "
            "Free some space, or use another --data directory."
        )
        raise CannotStart(message)


@contextmanager
def plainly(path: Path) -> Iterator[None]:
    """Turn what the operating system says about files into one sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                message = f"The disk is full: {where} could not be written. Free some space and start again."
            case errno.EACCES | errno.EPERM | errno.EROFS:
                message = f"The right to write {where} is missing: choose another --data directory, or fix its owner."
            case errno.ENOTDIR | errno.EEXIST:
                message = f"{where} is a file, but a directory is needed: choose another --data directory."
            case _:
                raise
        raise CannotStart(message) from error
