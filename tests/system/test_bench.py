"""The benchmark runs; how fast anything is, it does not say here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]


def bench(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.bench", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


def test_a_cheap_measurement_is_made_kept_and_compared(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    made = bench("--quick", "--only", "raw.disk", "raw.nats", "--json", file)
    assert made.returncode == 0, made.stderr
    kept = json.loads(file.read_text())
    assert {"cpus", "model", "revision", "versions", "at"} <= kept["machine"].keys()
    assert all(value > 0 for one in kept["measurements"] for value in one["values"])
    again = bench("--show", file, "--compare", file, "--markdown")
    assert again.returncode == 0, again.stderr
    assert "| fdatasync of 4 KiB |" in again.stdout
    assert "1.00" in again.stdout


def test_what_does_not_exist_is_told() -> None:
    refused = bench("--only", "warp")
    assert refused.returncode == 1
    assert "nothing is called warp" in refused.stderr
