"""`jobplane verify` and `jobplane doctor` on a whole platform: under load, damaged, and stopped."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import invariants
from tests.support.load import load_on
from tests.support.platform import JOBPLANE, Platform

pytestmark = pytest.mark.system

_SOME = 60


@contextmanager
def worker(platform: Platform) -> Iterator[None]:
    """A worker that is done with every job at once."""
    command: list[str | Path] = [
        JOBPLANE,
        "worker",
        "tests.support.slow_jobs",
        "--data",
        platform.data,
        "--name",
        "mine",
    ]
    with (
        (platform.directory / "mine.log").open("ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2]) as process,
    ):
        try:
            yield
        finally:
            process.terminate()


def answer(platform: Platform, *arguments: str, code: int = 0) -> Any:
    done = platform.command(*arguments, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_both_are_content_while_the_platform_works(platform: Platform) -> None:
    with worker(platform), load_on(platform) as load:
        load.reaches(_SOME)
        first = answer(platform, "verify")
        load.reaches(len(load.accepted) + _SOME)
        second = answer(platform, "verify")
        examined = answer(platform, "doctor")
    assert load.problems == []
    for told in (first, second):
        assert {one["id"]: one["violations"] for one in told["invariants"]} == {f"I{n}": [] for n in range(1, 10)}
        assert told["status"] == "ok"
    assert second["positions"]["jobs"] > first["positions"]["jobs"] >= _SOME
    assert [one for one in examined["findings"] if one["verdict"] == "failure"] == []
    assert len({one["area"] for one in examined["findings"]}) == 8


def test_the_plain_output_is_whole_lines_without_colour(platform: Platform) -> None:
    for command, last in (("verify", "all 9 invariants hold"), ("doctor", "checks")):
        done = platform.command(command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert [line for line in done.stdout.splitlines() if line != line.rstrip()] == []
        assert last in done.stdout.splitlines()[-1]


def test_a_violation_is_exit_code_1(platform: Platform) -> None:
    with invariants.connect(platform) as conn:
        conn.execute("INSERT INTO jobs.job_count (queue, status, n) VALUES ('nowhere', 'PENDING', 3)")
        told = answer(platform, "verify", "--only", "I5,I1", code=1)
        conn.execute("DELETE FROM jobs.job_count WHERE queue = 'nowhere'")
    assert [one["status"] for one in told["invariants"]] == ["ok", "violated"]
    [violation] = told["invariants"][1]["violations"]
    assert (violation["where"], violation["what"]) == ("queue nowhere", "the counter of PENDING says 3, there are 0")


def test_a_stopped_platform_is_told_by_both(platform: Platform) -> None:
    platform.stop()
    verified = platform.command("verify")
    assert verified.returncode == 3
    assert verified.stderr.startswith("jobplane: the database cannot be used")
    failures = [one["name"] for one in answer(platform, "doctor", code=1)["findings"] if one["verdict"] == "failure"]
    assert failures == ["postgres", "nats", "jobs", "audit", "health", "gateway"]
