"""Many seeds, on several processors; what went wrong is told so that one line replays it."""

import gc
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from tests.simulation.world import Verdict, World

_AT_ONCE: Final = 25
"""Seeds that one process lives through before it tells of them."""


@dataclass(slots=True)
class Summary:
    """What many runs came to."""

    seeds: int = 0
    steps: int = 0
    events: int = 0
    crashes: int = 0
    virtual_s: float = 0.0
    wall_s: float = 0.0
    met: Counter[str] = field(default_factory=Counter)
    """In how many runs each type of event happened."""
    broken: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        """Count one run."""
        self.seeds += 1
        self.steps += verdict.steps
        self.events += verdict.events
        self.crashes += verdict.crashes
        self.virtual_s += verdict.lasted_s
        self.met.update(verdict.types)
        if verdict.violations:
            self.broken.append(verdict)

    def text(self) -> str:
        """A few lines for people."""
        lines = [
            f"{self.seeds} seeds, {self.seeds / max(self.wall_s, 1e-9):.0f}/s, {len(self.broken)} broken:"
            f" {self.steps} steps, {self.events} events, {self.crashes} crashes, {self.virtual_s / 3600:.1f} hours"
        ]
        lines += [f"  {name}: in {count} runs" for name, count in sorted(self.met.items())]
        return "\n".join(lines)


def run(seeds: Sequence[int], *, processes: int | None = None, patience_s: float = float("inf")) -> Summary:
    """Live through these seeds, in this order; after `patience_s` no more are begun, nor after a broken one."""
    summary = Summary()
    began = time.perf_counter()
    for verdict in _verdicts(seeds, processes or os.cpu_count() or 1):
        summary.add(verdict)
        if summary.broken or time.perf_counter() - began > patience_s:
            break
    summary.wall_s = time.perf_counter() - began
    return summary


def _verdicts(seeds: Sequence[int], processes: int) -> Iterator[Verdict]:
    parts = _parts(seeds)
    if processes == 1 or len(parts) == 1:
        yield from chain.from_iterable(map(several, parts))
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from chain.from_iterable(pool.map(several, parts))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _parts(seeds: Sequence[int]) -> list[Sequence[int]]:
    return [seeds[start : start + _AT_ONCE] for start in range(0, len(seeds), _AT_ONCE)]


def several(seeds: Sequence[int]) -> list[Verdict]:
    """Live through some seeds in this process, and clear up afterwards: that is a fifth faster."""
    gc.freeze()
    gc.disable()
    try:
        return [one(seed) for seed in seeds]
    finally:
        gc.enable()
        gc.unfreeze()


def one(seed: int) -> Verdict:
    """Live through one seed; what the simulation itself stumbles over is told like everything that is wrong."""
    try:
        return World(seed).run()
    except Exception as error:  # noqa: BLE001 - it shall not end the other seeds, and come with its seed
        return Verdict(seed, [f"the simulation failed: {error!r}"])


def story(seed: int) -> str:
    """What happened under a seed, in order, and what was wrong with it."""
    verdict = World(seed, traced=True).run()
    wrong = [f"  {violation}" for violation in verdict.violations] or ["  nothing"]
    return "\n".join([*verdict.trace, "", f"wrong with seed {seed}:", *wrong, "", replay(seed)])


def replay(seed: int) -> str:
    """The line that shows the same again."""
    return f"replay: python -m tests.simulation --seed {seed} --trace"
