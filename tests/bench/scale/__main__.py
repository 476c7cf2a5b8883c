"""`python -m tests.bench.scale`: fill platforms with jobs and measure what depends on how many there are."""

import argparse
import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Any, Final

import psycopg

from jobplane.local import migrate
from tests.bench.scale import populate, reading, sizes
from tests.bench.scale.ground import KEPT, Ground, prepare_process, tell
from tests.bench.scale.reading import Figures
from tests.bench.site import projected
from tests.support import invariants
from tests.support.waiting import eventually_sync

_SIZES: Final = (10_000, 1_000_000)
_STEPS: Final = ("populate", "ready", "follow", "sql", "api", "report")
_PROGRESS_EVERY_S: Final = 10.0
_BIG: Final = 100


def main() -> None:
    """See `--help`; nothing is asserted."""
    arguments = _parser().parse_args()
    prepare_process()
    for step in arguments.steps or _STEPS:
        if step == "report":
            report(arguments.directory, arguments.jobs)
            continue
        for jobs in arguments.jobs:
            ground = Ground(arguments.directory, jobs)
            tell(f"{step}, {jobs:,} jobs")
            match step:
                case "populate":
                    _populate(ground, arguments.seed)
                case "ready":
                    _make_ready(ground, arguments.ready)
                case "follow":
                    _follow(ground, arguments.patience)
                case "sql":
                    _sql(ground)
                case _:
                    _api(ground)


def _populate(ground: Ground, seed: int) -> None:
    ground.prepare()
    told = 0.0

    def progress(jobs: int, seconds: float) -> None:
        nonlocal told
        if seconds - told >= _PROGRESS_EVERY_S:
            told = seconds
            tell(f"{jobs:,} of {ground.jobs:,} jobs after {seconds:.0f} s")

    with ground.database():
        filled = asyncio.run(populate.fill(ground.url("jobs"), ground.jobs, seed=seed, progress=progress))
    tell(f"{filled.jobs:,} jobs in {filled.seconds:.0f} s: {filled.rate:,.0f} a second")
    if filled.jobs:
        ground.note({"populated per second": filled.rate})


def _make_ready(ground: Ground, ready: int) -> None:
    """So many jobs in one queue are due and nobody runs them."""
    with ground.database():
        asyncio.run(populate.park(ground.url("jobs"), ready))


def _follow(ground: Ground, patience_s: float) -> None:
    """Relay, audit and health read the journal to its end; what is left when time is over is left to the next call."""
    began = time.perf_counter()
    ground.platform.start()
    ground.note({"start of the platform, s": time.perf_counter() - began})
    try:
        with invariants.connect(ground.platform) as conn, contextlib.suppress(AssertionError):
            before = _audited(conn)
            try:
                eventually_sync(lambda: projected(conn), timeout=patience_s)
                tell("relay and projections are at the end")
            finally:
                events, seconds = _audited(conn) - before, time.perf_counter() - began
                tell(f"{events:,} events were relayed and audited in {seconds:.0f} s")
                ground.note({"relayed and audited, events per second": events / seconds})
    finally:
        ground.platform.stop()


def _audited(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_JOBS'").fetchone()
    return 0 if row is None else int(row[0])


def _sql(ground: Ground) -> None:
    with ground.database(), ground.superuser() as admin:
        migrate.migrate(ground.url("owner"))
        ground.note(asyncio.run(reading.index(ground.url("jobs"))))
        admin.execute("VACUUM ANALYZE")  # what autovacuum does within minutes
        ground.note(asyncio.run(reading.of_database(ground.url("jobs"), admin)))
        ground.note(sizes.of(admin, ground.jobs))


def _api(ground: Ground) -> None:
    began = time.perf_counter()
    ground.platform.start()
    ground.note({"start of the platform, s": time.perf_counter() - began})
    try:
        with invariants.connect(ground.platform) as conn:
            if not projected(conn):
                tell("relay and projections are still at work: take the step `follow` first")
            ground.note(asyncio.run(reading.of_api(ground.platform, reading.cursors(conn), reading.queries(conn))))
            ground.note(sizes.of(conn, ground.jobs, "audit"))
    finally:
        ground.platform.stop()


def report(directory: Path, jobs: list[int]) -> None:
    """A markdown table: one column for each size, and the ratio of the last to the first."""
    runs: list[Figures] = [Ground(directory, one).figures for one in jobs]
    sys.stdout.write(f"| | {' | '.join(f'{one:,} jobs' for one in jobs)} | ratio |\n|---|{'---:|' * (len(jobs) + 1)}\n")
    for name in dict.fromkeys(name for run in runs for name in run):
        values = [run.get(name) for run in runs]
        first, last = values[0], values[-1]
        ratio = f"{last / first:.2f}" if first and last is not None else ""
        told = " | ".join("" if value is None else _number(value) for value in values)
        sys.stdout.write(f"| {name} | {told} | {ratio} |\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= _BIG else f"{value:.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="just scale", description="What depends on how many jobs there are.")
    parser.add_argument("steps", choices=_STEPS, nargs="*", help="all, in this order, if none is named")
    parser.add_argument("--jobs", type=int, nargs="+", default=list(_SIZES), metavar="N", help="sizes to compare")
    parser.add_argument("--ready", type=int, default=100_000, help="due jobs in one queue while claims are measured")
    parser.add_argument("--seed", type=int, default=1, help="of the mix")
    parser.add_argument("--patience", type=float, default=3600, metavar="S", help="of the step `follow`")
    parser.add_argument("--directory", type=Path, default=KEPT, help="kept between runs")
    return parser


if __name__ == "__main__":
    main()
