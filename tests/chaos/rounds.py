"""Many runs: one after the other here, or side by side in processes of their own."""

import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos.act import Result, Scenario, run
from tests.chaos.checker import Violation
from tests.chaos.stage import ROOT

_SHOWN: Final = 20
_LONGEST_RUN_S: Final = 240


@dataclass(frozen=True, slots=True)
class Round:
    """Which runs, how many at a time, until when."""

    scenarios: Sequence[Scenario]
    seeds: Sequence[int]
    minutes: float | None
    parallel: int
    directory: Path

    def results(self) -> Iterator[Result]:
        """All results as they come; each is told on the way."""
        until = time.monotonic() + self.minutes * 60 if self.minutes else float("inf")
        runs = ((scenario, seed) for seed in self.seeds for scenario in self.scenarios)
        if self.parallel == 1:
            for scenario, seed in runs:
                if time.monotonic() < until:
                    yield self._here(scenario, seed)
            return
        lock = threading.Lock()
        found: list[Result] = []

        def lane() -> None:
            while time.monotonic() < until:
                with lock:
                    following = next(runs, None)
                if following is None:
                    return
                result = self._elsewhere(*following)
                with lock:
                    found.append(result)

        with ThreadPoolExecutor(self.parallel) as pool:
            for done in [pool.submit(lane) for _ in range(self.parallel)]:
                done.result()
        yield from found

    def _here(self, scenario: Scenario, seed: int) -> Result:
        place = self.directory / f"chaos-{os.getpid()}-{scenario.name}-{seed}"
        result = run(scenario, seed, place)
        sys.stdout.write(_told(result, place))
        sys.stdout.flush()
        return result

    def _elsewhere(self, scenario: Scenario, seed: int) -> Result:
        with tempfile.TemporaryDirectory() as directory:
            answer = Path(directory) / "result.json"
            command = [*_command(scenario.name, seed), "--directory", str(self.directory), "--json", str(answer)]
            done = subprocess.run(
                command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=_LONGEST_RUN_S
            )
            if not answer.exists():
                raise RuntimeError(f"{shlex.join(command)} ended without a result: {done.stderr[-2000:]}")
            (told,) = json.loads(answer.read_text())
        sys.stdout.write(done.stdout.partition("\n\n")[0] + "\n")
        sys.stdout.flush()
        return result_of(told)


def result_of(told: dict[str, Any]) -> Result:
    """The result that a JSON file tells of."""
    violations = tuple(Violation(**violation) for violation in told["violations"])
    return Result(**told | {"violations": violations})


def _command(scenario: str, seed: int) -> list[str]:
    return [sys.executable, "-m", "tests.chaos", "--scenario", scenario, "--seed", str(seed)]


def _told(result: Result, place: Path) -> str:
    verdict = f"left out: {result.left_out}" if result.left_out else f"{len(result.violations)} violations"
    counts = f"{result.operations} operations, {result.events} events, {result.faults} faults"
    lines = [f"{result.scenario} seed {result.seed}: {counts}, {result.seconds:.0f} s, {verdict}"]
    lines += [f"  {violation.invariant}: {violation.detail.strip()}" for violation in result.violations[:_SHOWN]]
    if result.violations:
        lines += [f"  kept in {place}", f"  replay: {shlex.join(_command(result.scenario, result.seed))}"]
    return "\n".join(lines) + "\n"
