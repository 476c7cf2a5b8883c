"""The platform that is measured, as a person starts it, and how its state is looked at from outside."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

from tests.bench.machine import ROOT
from tests.support import invariants
from tests.support.platform import JOBPLANE, Platform
from tests.support.waiting import eventually_sync

HANDLERS: Final = "tests.bench.handlers"
_JOURNAL: Final = "SELECT pos FROM jobs.journal_head"
_BEHIND: Final = (
    "SELECT (SELECT pos FROM jobs.journal_head) <= least("
    "(SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_JOBS'),"
    "(SELECT position FROM health.checkpoint WHERE name = 'health.EVT_JOBS'))"
)
_STATUS: Final = "SELECT coalesce(sum(n), 0)::bigint FROM jobs.job_count WHERE status = %s AND queue = %s"


@dataclass(frozen=True, slots=True)
class Scale:
    """How much work a measurement does."""

    quick: bool = False
    repetitions: int | None = None
    """As many as each measurement thinks right, if none is given."""

    def of(self, full: int, quick: int) -> int:
        """The one or the other."""
        return quick if self.quick else full


@dataclass(slots=True)
class Site:
    """One platform for all measurements that ask for it, and directories that are gone afterwards."""

    peer_python: str = sys.executable
    """The interpreter of the peers: not every peer runs with every version."""
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="jobplane-bench-")))
    _platform: Platform | None = None

    @property
    def platform(self) -> Platform:
        """A running platform without workers."""
        if self._platform is None:
            self._platform = Platform(self.root / "shared", ("--workers", "0"))
            self._platform.start()
        return self._platform

    def directory(self) -> Path:
        """A fresh one."""
        return Path(tempfile.mkdtemp(dir=self.root))

    @contextmanager
    def fresh_platform(self) -> Iterator[Platform]:
        """A platform of its own, while no other takes its share of the machine."""
        self.stop()
        platform = Platform(self.directory(), ("--workers", "0"))
        platform.start()
        try:
            yield platform
        finally:
            platform.stop()
            shutil.rmtree(platform.directory, ignore_errors=True)

    def stop(self) -> None:
        """End the shared platform, if there is one."""
        if self._platform is not None:
            self._platform.stop()
            shutil.rmtree(self._platform.directory, ignore_errors=True)
            self._platform = None

    def close(self) -> None:
        """End everything."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)


@contextmanager
def worker(
    platform: Platform, queue: str, *, concurrency: int | None = None, lease_ms: int | None = None
) -> Iterator[psutil.Process]:
    """One worker process with the handlers of this suite, ready: it has run a job."""
    command: list[str | Path] = [JOBPLANE, "worker", HANDLERS, "--data", platform.data, "--queue", queue]
    if concurrency is not None:
        command += ["--concurrency", str(concurrency)]
    told = os.environ | ({"JOBPLANE_WORKER_LEASE_MS": str(lease_ms)} if lease_ms else {})
    with (platform.directory / f"worker-{queue}.log").open("ab") as log:
        process = subprocess.Popen(command, env=told, stdout=log, stderr=log, cwd=ROOT, start_new_session=True)
    try:
        with platform.client() as client, invariants.connect(platform) as conn:
            client.post("/jobs", json={"kind": "bench.noop", "queue": queue}).raise_for_status()
            eventually_sync(lambda: finished(conn, queue) >= 1, timeout=30)
        yield psutil.Process(process.pid)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(20)


def finished(conn: psycopg.Connection[Any], queue: str) -> int:
    """How many jobs of a queue are COMPLETED."""
    return in_status(conn, "COMPLETED", queue)


def in_status(conn: psycopg.Connection[Any], status: str, queue: str) -> int:
    """How many jobs of a queue have a status."""
    return _number(conn, _STATUS, (status, queue))


def position(conn: psycopg.Connection[Any]) -> int:
    """The last position of the jobs' journal."""
    return _number(conn, _JOURNAL)


def projected(conn: psycopg.Connection[Any]) -> bool:
    """Whether audit and health have read the jobs' journal to its end."""
    return bool(_number(conn, _BEHIND))


def _number(conn: psycopg.Connection[Any], query: str, parameters: tuple[Any, ...] = ()) -> int:
    row = conn.execute(query, parameters).fetchone()
    assert row is not None
    return int(row[0] or 0)


def bus_url(platform: Platform, user: str) -> str:
    """The bus, as one of its users."""
    known = json.loads((platform.data / "credentials.json").read_text())
    return f"nats://{user}:{known['nats_users'][user]}@127.0.0.1:{known['ports']['nats']}"


class Cpu:
    """CPU seconds of every process of a platform, by name, since this was made."""

    def __init__(self, platform: Platform, **others: psutil.Process) -> None:
        self._top = psutil.Process(platform.process.pid)
        self._others = others
        self._client = time.process_time()
        self._before = self._now()

    def used(self) -> dict[str, float]:
        """Name → seconds; `client` is this process."""
        now = self._now()
        spent = {name: seconds - self._before.get(name, 0.0) for name, seconds in now.items()}
        return {name: seconds for name, seconds in spent.items() if seconds >= 0.005} | {
            "client": time.process_time() - self._client
        }

    def _now(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for process in self._top.children(recursive=True):
            try:
                name, times = process.name().removeprefix("jp-"), process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            # A server process that ends leaves its seconds with its parent.
            seconds = times.user + times.system + times.children_user + times.children_system
            sums[name] = sums.get(name, 0.0) + seconds
        for name, process in self._others.items():
            times = process.cpu_times()
            sums[name] = times.user + times.system
        return sums
