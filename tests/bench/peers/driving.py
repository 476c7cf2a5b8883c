"""Drives one peer: `python -m tests.bench.peers.driving NAME rate|tuned JOBS STARTS`, or `… NAME rate|tuned work`.

The first prints its readings as JSON. The second is the worker process; it writes the instant of each start to its
output, by the clock that all processes of a machine share.
"""

import asyncio
import importlib
import json
import os
import sys
import time
from dataclasses import dataclass
from typing import Protocol

import uvloop

from tests.bench.figures import percentile
from tests.support.waiting import eventually

_PATIENCE_S = 150
_BATCH = 1000
_MANY = 10_000
_QUICK = 100
_STARTED = b"started "


@dataclass(frozen=True, slots=True)
class Where:
    """The servers."""

    database: str
    nats: str


class Peer(Protocol):
    """What each peer's module brings as `Peer`."""

    async def open(self, where: Where) -> None:
        """Connect, and make what it needs on the servers."""

    async def close(self) -> None:
        """Disconnect."""

    async def enqueue(self, count: int) -> None:
        """Enqueue so many jobs that do nothing, as fast as the API offers."""

    async def enqueue_one(self) -> None:
        """Enqueue one job that calls `started`."""

    async def unfinished(self) -> int:
        """How many jobs are not durably done."""

    async def bulk(self, count: int) -> dict[str, float]:
        """Seconds to `retry` so many failed jobs and to `cancel` so many waiting ones through the API.

        Without what it does not offer; one call a job where it has none for many.
        """

    async def work(self, *, tuned: bool) -> None:
        """Run jobs for ever."""


def started() -> None:
    """Tell when a job started."""
    os.write(1, _STARTED + f"{time.monotonic_ns()}\n".encode())


def load(name: str) -> Peer:
    """The peer of that name."""
    peer: Peer = importlib.import_module(f"tests.bench.peers.{name.replace('-', '_')}").Peer()
    return peer


async def drive(name: str, mode: str, jobs: int, starts: int) -> dict[str, float]:
    """Enqueue while one worker process runs, until everything is done; then one at a time."""
    peer = load(name)
    await peer.open(where())
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.peers.driving", name, mode, "work", stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    try:
        await peer.enqueue_one()  # the worker is ready when it has run a job
        await _next_start(worker.stdout)

        async def done() -> bool:
            return await peer.unfinished() == 0

        await eventually(done, timeout=30)
        began = time.perf_counter()
        await peer.enqueue(jobs)
        enqueued = time.perf_counter() - began
        await eventually(done, timeout=_PATIENCE_S)
        readings = {mode: jobs / (time.perf_counter() - began)}
        if mode == "rate":
            readings |= {"enqueued": jobs / enqueued} | await _starts(peer, worker.stdout, starts)
    finally:
        worker.kill()
        await worker.wait()
    if mode == "rate":
        many = jobs if jobs <= _QUICK else _MANY
        readings |= {f"bulk.{action}": many / seconds for action, seconds in (await peer.bulk(many)).items()}
    await peer.close()
    return readings


async def _starts(peer: Peer, output: asyncio.StreamReader, count: int) -> dict[str, float]:
    waits = []
    for number in range(count):
        began = time.monotonic_ns()
        await peer.enqueue_one()
        instant = await _next_start(output)
        if number >= count // 10:
            waits.append((instant - began) / 1e6)
        await asyncio.sleep(0.01)
    return {"start.p50": percentile(waits, 0.5), "start.p99": percentile(waits, 0.99)}


async def _next_start(output: asyncio.StreamReader) -> int:
    """When the next job started; what else a worker prints is passed over."""
    async with asyncio.timeout(30):
        while not (line := await output.readline()).startswith(_STARTED):
            if not line:
                msg = "the worker ended"
                raise RuntimeError(msg)
    return int(line.removeprefix(_STARTED))


def batches(count: int) -> list[int]:
    """Sizes of batches that sum up to `count`."""
    return [min(_BATCH, count - at) for at in range(0, count, _BATCH)]


def where() -> Where:
    """As the parent process says."""
    return Where(os.environ["PEER_DATABASE"], os.environ["PEER_NATS"])


async def _work(name: str, mode: str) -> None:
    peer = load(name)
    await peer.open(where())
    await peer.work(tuned=mode == "tuned")


def main() -> None:
    """One of the two roles."""
    match sys.argv[1:]:
        case [name, mode, "work"]:
            uvloop.run(_work(name, mode))
        case [name, mode, jobs, starts]:
            sys.stdout.write(json.dumps(uvloop.run(drive(name, mode, int(jobs), int(starts)))) + "\n")
        case _:
            sys.exit("usage: python -m tests.bench.peers.driving NAME rate|tuned JOBS STARTS|work")


if __name__ == "__main__":
    main()
