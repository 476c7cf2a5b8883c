"""`python -m tests.bench.scale`: fill platforms with jobs and measure what depends on how many there are."""

import argparse
import asyncio
from pathlib import Path

from tests.bench.scale import populate
from tests.bench.scale.ground import Ground, tell

_SIZES = (10_000, 1_000_000)
_PROGRESS_EVERY_S = 10.0


def main() -> None:
    """See `--help`; nothing is asserted."""
    arguments = _parser().parse_args()
    for jobs in arguments.jobs:
        ground = Ground(arguments.directory, jobs)
        if arguments.step in {"populate", "all"}:
            _populate(ground, arguments.seed)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="just scale", description="What depends on how many jobs there are.")
    parser.add_argument("step", choices=("populate", "measure", "all"), nargs="?", default="all")
    parser.add_argument("--jobs", type=int, nargs="+", default=list(_SIZES), metavar="N", help="sizes to compare")
    parser.add_argument("--seed", type=int, default=1, help="of the mix")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp/jobplane-scale"), help="kept between runs")
    return parser


if __name__ == "__main__":
    main()
