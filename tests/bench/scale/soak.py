"""`python -m tests.bench.scale.soak`: work at a share of what the machine can, for an hour, and see what grows."""

import argparse
import asyncio
import contextlib
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from jobplane.chassis import bus as buses
from jobplane.worker.producer import NewJob, Producer
from tests.bench import machine
from tests.bench.figures import percentile
from tests.bench.http_client import HttpClient
from tests.bench.scale import watch
from tests.bench.scale.ground import prepare_process, tell
from tests.bench.scale.trend import Trend, trend
from tests.bench.scale.watch import Reading
from tests.bench.site import bus_url, finished, projected, worker
from tests.support import invariants
from tests.support.platform import Platform
from tests.support.waiting import eventually

_QUEUE: Final = "soak"
_KIND: Final = "bench.noop"
_CAPACITY_JOBS: Final = 6000
_TICK_S: Final = 0.1
_COMMAND_EVERY_S: Final = 0.2
_READ_EVERY_S: Final = 0.05
_PATIENCE_S: Final = 120
_LATE: Final = frozenset({202, 503})
"""Accepted but not decided within two seconds, and not confirmed within two."""
_TOKEN_MINUTES: Final = 24 * 60
"""Clients log in once."""
_WISH: Final = b'{"kind":"bench.noop","queue":"soak","payload":{"by":"rest"}}'
_QUESTIONS: Final = (
    "/api/admin/jobs",
    "/api/admin/jobs?status=FAILED",
    "/api/admin/jobs?queue=soak",
    "/api/admin/jobs?kind=bench.noop&status=RUNNING",
    "/api/admin/stats",
    "/api/admin/audit",
)
_JUDGED: Final = {
    "memory": ("MB", 0.05, 5.0),
    "files": ("files", 0.0, 2.0),
    "connections": ("connections", 0.0, 2.0),
    "latency": ("ms", 0.2, 1.0),
    "lag": ("events", 1.0, 2000.0),
    "dead": ("rows", 1.0, 50_000.0),
    "late": ("commands", 0.0, 10.0),
}
"""What a name begins with: its unit, and the growth per hour that is called flat, as a share and in the unit."""


@dataclass(slots=True)
class Run:
    """What was measured."""

    capacity: float
    rate: float
    machine: dict[str, Any] = field(default_factory=machine.describe)
    readings: list[tuple[float, Reading]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def trends(self) -> list[Trend]:
        """Of everything that is judged."""
        names = dict.fromkeys(name for _, reading in self.readings for name in reading)
        found = []
        for name in names:
            judged = _JUDGED.get(name.split(" ", 1)[0])
            if judged is not None:
                unit, allowed, slack = judged
                found.append(trend(name, unit, *watch.series(self.readings, name), allowed=allowed, slack=slack))
        return [one for one in found if one is not None]


class Clients:
    """Keeps the platform busy, and remembers how long each request took since it was last asked."""

    def __init__(self, platform: Platform, rate: float) -> None:
        self._platform = platform
        self._rate = rate
        self._took: dict[str, list[float]] = {}
        self.enqueued = 0
        self.late = 0

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """At work inside the block; what breaks one of them ends the block."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in (self._produce(), self._command(), self._read())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def latencies(self) -> Reading:
        """Since the last call."""
        took, self._took = self._took, {}
        return {
            f"latency {name} p{share * 100:.0f}": percentile(values, share)
            for name, values in sorted(took.items())
            for share in (0.5, 0.99)
        }

    async def _produce(self) -> None:
        async with Producer.connect(self._platform.producer_url, name="soak") as producer:
            due = time.perf_counter()
            for number in itertools.count():
                count = round(self._rate * _TICK_S * (number + 1)) - round(self._rate * _TICK_S * number)
                jobs = [NewJob(kind=_KIND, payload={"n": n}, queue=_QUEUE) for n in range(count)]
                if jobs:
                    await self._timed("enqueue", lambda jobs=jobs: producer.enqueue_many(jobs))  # type: ignore[misc]
                    self.enqueued += count
                due = max(due + _TICK_S, time.perf_counter() - 1)
                await asyncio.sleep(due - time.perf_counter())

    async def _command(self) -> None:
        client = await HttpClient.connect(self._platform.url, self._platform.token())
        while True:
            status, body = await self._timed("command", lambda: client.post("/api/admin/jobs", _WISH))
            if status in _LATE:  # as it may be told when the machine is busy: one more for the verdict
                self.late += 1
            else:
                assert status == 201, body
            await asyncio.sleep(_COMMAND_EVERY_S)

    async def _read(self) -> None:
        client = await HttpClient.connect(self._platform.url, self._platform.token())
        for path in itertools.cycle(_QUESTIONS):
            await self._timed("read", lambda path=path: client.get(path))  # type: ignore[misc]
            await asyncio.sleep(_READ_EVERY_S)

    async def _timed(self, name: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        began = time.perf_counter()
        answer = await ask()
        self._took.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
        return answer


async def soak(platform: Platform, process: psutil.Process, *, load: float, minutes: float, every_s: float) -> Run:
    """Measure what the platform can, then let it do a share of that and read everything every so often."""
    capacity = await _capacity(platform)
    run = Run(capacity, capacity * load)
    tell(f"{capacity:,.0f} jobs a second are possible, {run.rate:,.0f} are wanted")
    nc = await buses.connect(bus_url(platform, "audit-reader"), user="audit-reader", name="soak")
    clients = Clients(platform, run.rate)
    began = time.perf_counter()
    with invariants.connect(platform) as conn:
        try:
            async with clients.working():
                while (passed := time.perf_counter() - began) < minutes * 60:
                    await asyncio.sleep(min(every_s, minutes * 60 - passed))
                    reading = await watch.read(platform, process, conn, nc) | clients.latencies()
                    reading["enqueued"] = clients.enqueued
                    reading["late commands"] = clients.late
                    run.readings.append((time.perf_counter() - began, reading))
                    tell(_line(*run.readings[-1]))
        except* Exception as group:  # noqa: BLE001 - what was read until then is worth keeping
            run.problems += [f"{type(error).__name__}: {error}" for error in group.exceptions]
    await buses.close(nc)
    return run


async def _capacity(platform: Platform) -> float:
    """Whole lives per second, projections included."""
    jobs = [NewJob(kind=_KIND, payload={"n": n}, queue=_QUEUE) for n in range(_CAPACITY_JOBS)]
    with invariants.connect(platform) as conn:
        before = finished(conn, _QUEUE)
        began = time.perf_counter()
        async with Producer.connect(platform.producer_url, name="soak") as producer:
            await producer.enqueue_many(jobs, timeout_s=_PATIENCE_S)
        await eventually(lambda: finished(conn, _QUEUE) - before >= _CAPACITY_JOBS, timeout=_PATIENCE_S)
        await eventually(lambda: projected(conn), timeout=_PATIENCE_S)
        return _CAPACITY_JOBS / (time.perf_counter() - began)


def _line(at: float, reading: Reading) -> str:
    memory = sum(value for name, value in reading.items() if name.startswith("memory "))
    waits = " ".join(f"{name.removeprefix('latency ')} {value:.1f}" for name, value in reading.items() if "p99" in name)
    lags = " ".join(f"{name} {value:.0f}" for name, value in reading.items() if name.startswith("lag "))
    return f"{at:5.0f} s  {memory:.0f} MB  {reading['enqueued']:.0f} jobs  {waits} ms  {lags}"


def markdown(run: Run) -> str:
    """The verdict, for a page."""
    minutes = run.readings[-1][0] / 60 if run.readings else 0.0
    trends = run.trends()
    growing = [one.name for one in trends if one.verdict == "grows"]
    lines = [
        f"Soaked {minutes:.0f} minutes at {run.rate:,.0f} jobs/s of {run.capacity:,.0f} possible, "
        f"{run.machine['at'][:10]}, {run.machine['cpus']} CPUs, revision {run.machine['revision']}.",
        f"Growing: {', '.join(growing) or 'nothing'}." if minutes * 60 >= 1200 else "Too short to judge.",
        *(f"Ended early by {problem}." for problem in run.problems),
        "",
        "| | begin | end | per hour | |",
        "|---|---:|---:|---:|---|",
    ]
    lines += [
        f"| {one.name} | {one.first:,.1f} {one.unit} | {one.last:,.1f} | {one.per_hour:+,.1f} | {one.verdict} |"
        for one in trends
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """See `--help`; exits 1 if something broke, never because something grows."""
    arguments = _parser().parse_args()
    prepare_process()
    directory = Path(tempfile.mkdtemp(prefix="jobplane-soak-", dir=arguments.directory))
    platform = Platform(directory, ("--workers", "0"))
    try:
        platform.start(environment={"JOBPLANE_TOKEN_MINUTES": str(_TOKEN_MINUTES)})
        with worker(platform, _QUEUE, concurrency=arguments.concurrency) as process:
            told = soak(platform, process, load=arguments.load, minutes=arguments.minutes, every_s=arguments.every)
            run = asyncio.run(told)
    finally:
        platform.stop()
        shutil.rmtree(directory, ignore_errors=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(run) | {"trends": list(map(asdict, run.trends()))}, indent=1))
    if arguments.markdown:
        arguments.markdown.write_text(markdown(run))
    sys.stdout.write(markdown(run))
    sys.exit(bool(run.problems))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="just soak", description="Work for a long time, and see what grows.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--load", type=float, default=0.5, help="share of what the machine can")
    parser.add_argument("--every", type=float, default=30.0, metavar="S", help="between two readings")
    parser.add_argument("--concurrency", type=int, default=64, help="slots of the one worker process")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where the platform's data is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep all readings")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="keep the verdict")
    return parser


if __name__ == "__main__":
    main()
