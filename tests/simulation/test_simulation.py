"""Thousands of histories of the jobs service, each decided by its seed; more of them: `just sim`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import runs
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
SEEDS = range(1, 3001)
PATIENCE_S = 25.0
"""A slow machine lives through fewer of them."""
AT_LEAST = 200
MUTANT_SEEDS = range(1, 601)
COMMON = {
    "command.refused.v1",
    "job.cancelled.v1",
    "job.completed.v1",
    "job.created.v1",
    "job.edited.v1",
    "job.failed.v1",
    "job.finished_anyway.v1",
    "job.force_run.v1",
    "job.orphaned.v1",
    "job.released.v1",
    "job.restored.v1",
    "job.retried.v1",
    "job.started.v1",
    "job.stop_confirmed.v1",
    "job.stop_unconfirmed.v1",
}
"""What has to happen in some of the histories; otherwise they prove less than they seem to."""


@pytest.mark.timeout(180)
def test_whatever_the_seed_all_is_well() -> None:
    summary = runs.run(SEEDS, patience_s=PATIENCE_S)
    for verdict in summary.broken:
        pytest.fail(f"seed {verdict.seed} is broken\n{runs.story(verdict.seed)}", pytrace=False)
    sys.stdout.write(summary.text() + "\n")
    assert summary.seeds >= AT_LEAST
    assert summary.crashes > summary.seeds / 10
    assert set(summary.met) == COMMON


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mistake_is_found(name: str) -> None:
    mistake, invariant = MUTANTS[name]
    with mistake():
        first = next((seed for seed in MUTANT_SEEDS if _speaks_up(seed, invariant)), None)
    assert first is not None, f"{invariant} finds nothing in {len(MUTANT_SEEDS)} seeds"
    sys.stdout.write(f"{name}: seed {first}\n")


def _speaks_up(seed: int, invariant: str) -> bool:
    return any(violation.startswith(f"{invariant}: ") for violation in World(seed).run().violations)


def test_a_broken_seed_tells_its_story_and_how_to_replay_it() -> None:
    mistake, invariant = MUTANTS["outcomes_are_not_looked_up"]
    with mistake():
        [broken] = runs.run(MUTANT_SEEDS[:20], processes=1).broken
        story = runs.story(broken.seed)
    trace, _, verdict = story.partition(f"\n\nwrong with seed {broken.seed}:\n")
    assert "job.created.v1" in trace
    assert f"  {invariant}: " in verdict
    assert verdict.endswith(f"\nreplay: python -m tests.simulation --seed {broken.seed} --trace")


def test_the_same_seed_is_the_same_history_in_any_process() -> None:
    def told(hash_seed: str) -> str:
        command = [sys.executable, "-m", "tests.simulation", "--seed", "7", "--trace"]
        variables = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    first, second = told("1"), told("2")
    assert first == second
    assert "job.created.v1" in first
    assert runs.story(7) in first


def test_another_seed_is_another_history() -> None:
    assert len({runs.story(seed) for seed in range(1, 6)}) == 5
