"""Jobs and queues, steered from the command line against a running platform."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.platform import JOBPLANE, Platform
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system

NOBODY_RUNS = "nobody.runs.this"


def answer(platform: Platform, *arguments: str) -> Any:
    done = platform.command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def create(platform: Platform, payload: dict[str, object], *more: str) -> str:
    return str(answer(platform, "enqueue", NOBODY_RUNS, "--payload", json.dumps(payload), *more)[0]["id"])


def test_jobs_are_found_by_the_query_that_the_api_understands(platform: Platform) -> None:
    wanted = create(platform, {"user": 42}, "--tag", "sought")
    create(platform, {"user": 43}, "--tag", "sought")
    found = eventually_sync(lambda: answer(platform, "jobs", "list", "payload.user:42", "tag:sought")["items"])
    assert [job["id"] for job in found] == [wanted]
    lines = platform.command("jobs", "list", "--all", "--json", "tag:sought").stdout.splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 2
    counted = platform.command("jobs", "list", "--count", "tag:sought")
    assert counted.stdout == "2\n"


def test_a_query_that_means_nothing_is_pointed_at(platform: Platform) -> None:
    refused = platform.command("jobs", "list", "status:failed colour:red")
    assert refused.returncode == 1
    assert "[invalid_query]" in refused.stderr
    assert "colour" in refused.stderr
    assert "at 14" in refused.stderr


def test_a_job_is_edited_cancelled_restored_and_copied(platform: Platform) -> None:
    job_id = create(platform, {"side": 320})
    version = str(answer(platform, "jobs", "show", job_id)["job"]["version"])
    edited = answer(platform, "jobs", "edit", job_id, "--priority", "7", "--if-version", version)
    assert edited["job"]["priority"] == 7
    late = platform.command("jobs", "edit", job_id, "--priority", "8", "--if-version", version)
    assert (late.returncode, "[version_conflict]" in late.stderr) == (1, True)
    assert answer(platform, "jobs", "cancel", job_id)[0]["job"]["status"] == "CANCELLED"
    assert answer(platform, "jobs", "restore", job_id)[0]["job"]["status"] == "PENDING"
    copy = answer(platform, "jobs", "clone", job_id, "--payload", '{"side": 640}')
    assert (copy["cloned_from"], copy["priority"]) == (job_id, 7)
    shown = platform.command("jobs", "show", job_id).stdout
    assert "job.edited" in shown
    assert "priority" in shown
    was = answer(platform, "jobs", "show", job_id, "--as-of", str(edited["position"] - 1))["job"]
    assert was["priority"] == 0


def test_an_edit_without_a_change_is_wrong_usage(platform: Platform) -> None:
    assert platform.command("jobs", "edit", "01a20370-9980-71bf-910c-c329a24a71ea").returncode == 2


def test_many_jobs_are_not_changed_unasked(platform: Platform) -> None:
    nobody = [f"01a20370-9980-71bf-910c-c329a24a71{n:02}" for n in range(11)]
    refused = platform.command("jobs", "cancel", *nobody, stdin=subprocess.DEVNULL)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert platform.command("jobs", "cancel", *nobody, "--yes").returncode == 4


def test_a_watch_ends_when_its_jobs_are_finished_and_says_how(platform: Platform, tmp_path: Path) -> None:
    job_id = create(platform, {})
    command: list[str | Path] = [JOBPLANE, "jobs", "watch", job_id, "--json", "--data", platform.data]
    told = tmp_path / "told"
    with told.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE) as watch:
        priority = iter(range(1, 1000))

        def told_something() -> bool:
            platform.command("jobs", "edit", job_id, "--priority", str(next(priority)))
            return bool(told.read_text())

        eventually_sync(told_something, timeout=30)
        platform.command("jobs", "cancel", job_id)
        assert watch.wait(30) == 1
    last = json.loads(told.read_text().splitlines()[-1])
    assert (last["type"], last["subject"]) == ("job.cancelled.v1", job_id)
    again = platform.command("jobs", "watch", job_id)
    assert again.returncode == 1
    assert "Not all of these jobs were completed" in again.stderr


def test_a_queue_is_paused_limited_and_resumed(platform: Platform) -> None:
    create(platform, {}, "--queue", "steered")
    paused = answer(platform, "queues", "pause", "steered", "--reason", "a test")
    assert paused["queue"]["state"] == "paused"
    shown = platform.command("queues", "list").stdout
    assert "steered" in shown
    assert "a test" in shown
    assert platform.command("queues", "pause", "steered").returncode == 1
    limited = answer(platform, "queues", "limit", "steered", "--concurrency", "2", "--rate", "10/60")
    assert limited["queue"]["limits"]["rate"]["every_s"] == 60
    assert answer(platform, "queues", "resume", "steered")["queue"]["state"] == "active"
    assert answer(platform, "queues", "limit", "steered", "--none")["queue"]["limits"] is None
    assert answer(platform, "queues", "drain", NOBODY_RUNS, "--kind")["queue"]["state"] == "drained"
    assert answer(platform, "queues", "resume", NOBODY_RUNS, "--kind")["queue"]["kind"] == NOBODY_RUNS
    assert platform.command("queues", "show", "no-such-queue").returncode == 4
