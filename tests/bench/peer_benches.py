"""The same work done by other job systems of PyPI: no-op jobs, one worker process, their own API, the same servers.

None of them is needed to measure ourselves; what is not installed is told and left out.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.machine import ROOT
from tests.bench.missing import NotHere
from tests.bench.raw import Readings, durable_bus, durable_postgres
from tests.bench.site import Scale, Site


def _nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class PeerBench:
    """One peer, in child processes of its own, with empty servers of its own."""

    name: str
    package: str
    jobs: int
    """As many as take some seconds."""
    missing: Callable[[], str] = _nothing
    """What else it lacks on this machine."""

    async def measure(self, site: Site, scale: Scale) -> Readings:
        """Run it.

        Raises:
            NotHere: it is not installed, or lacks something.
        """
        if not await _installed(site.peer_python, self.package):
            raise NotHere("not installed")
        if lacks := self.missing():
            raise NotHere(lacks)
        site.stop()
        readings: Readings = {}
        for mode in ("rate", "tuned"):
            readings |= await self._drive(site, scale, mode)
        return {f"peer.{self.name}.{figure}": value for figure, value in readings.items()}

    async def _drive(self, site: Site, scale: Scale, mode: str) -> Readings:
        directory = site.directory()
        with durable_postgres(directory) as postgres, durable_bus(directory / "bus") as bus:
            told = os.environ | {"PEER_DATABASE": postgres.url(), "PEER_NATS": bus.url("test")}
            counts = (str(scale.of(self.jobs, 100)), str(scale.of(200, 10)))
            command = ["-m", "tests.bench.peers.driving", self.name, mode, *counts]
            child = await asyncio.create_subprocess_exec(
                site.peer_python, *command, cwd=ROOT, env=told, stdout=asyncio.subprocess.PIPE, start_new_session=True
            )
            try:
                output, _ = await child.communicate()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # its worker, if it ended without ending it
        if child.returncode:
            msg = f"{self.name} ended with {child.returncode}"
            raise RuntimeError(msg)
        readings: Readings = json.loads(output.splitlines()[-1])
        return readings


async def _installed(python: str, package: str) -> bool:
    script = f"import importlib.metadata as m; m.version({package!r})"
    child = await asyncio.create_subprocess_exec(python, "-c", script, stderr=asyncio.subprocess.DEVNULL)
    return await child.wait() == 0


def _no_broker() -> str:
    named = os.environ.get("CELERY_BROKER_URL")
    return "" if named else "no broker: start a Redis or Valkey server and name it in CELERY_BROKER_URL"


PEERS: Final = (
    PeerBench("pgqueuer", "pgqueuer", 10_000),
    PeerBench("taskiq-nats", "taskiq-nats", 5_000),
    PeerBench("procrastinate", "procrastinate", 2_000),
    PeerBench("celery", "celery", 2_000, _no_broker),
    PeerBench("oban", "oban", 5_000),
)
