"""The other commands against a running platform, and `--demo`."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.platform import JOBPLANE, Platform
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system

HANDLERS = """
from jobplane.worker import handler

@handler("greeting.say")
async def say(ctx, payload: dict) -> dict:
    return {"said": f"hello {payload['name']}"}
"""


def answer(platform: Platform, *arguments: str) -> object:
    done = platform.command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def create(platform: Platform, *arguments: str) -> str:
    jobs = answer(platform, "enqueue", *arguments)
    assert isinstance(jobs, list)
    return str(jobs[0]["id"])


def status_of(platform: Platform, job_id: str) -> str:
    shown = answer(platform, "jobs", "show", job_id)
    assert isinstance(shown, dict)
    return str(shown["job"]["status"])


def test_a_job_is_created_found_cancelled_and_cannot_be_retried(platform: Platform) -> None:
    job_id = create(platform, "nobody.does.this", "--payload", '{"n": 1}', "--tag", "cli", "--priority", "5")
    listed = platform.command("jobs", "list", "--kind", "nobody.does.this")
    assert job_id in listed.stdout
    assert "PENDING" in listed.stdout
    cancelled = platform.command("jobs", "cancel", job_id, "--reason", "a test")
    assert cancelled.returncode == 0, cancelled.stderr
    assert "CANCELLED" in cancelled.stdout
    refused = platform.command("jobs", "retry", job_id)
    assert refused.returncode == 1
    assert "[job_not_failed]" in refused.stderr
    shown = platform.command("jobs", "show", job_id)
    assert "job.cancelled" in shown.stdout
    assert "a test" in shown.stdout


def test_a_job_that_is_not_there_has_its_own_exit_code(platform: Platform) -> None:
    missing = platform.command("jobs", "show", "01a20370-9980-71bf-910c-c329a24a71ea")
    assert missing.returncode == 4
    assert "Traceback" not in missing.stderr


def test_your_own_module_runs_jobs_against_the_running_platform(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "greetings.py").write_text(HANDLERS)
    command: list[str | Path] = [JOBPLANE, "worker", "greetings", "--data", platform.data, "--name", "mine"]
    with (
        (tmp_path / "worker.log").open("wb") as log,
        subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) as worker,
    ):
        job_id = create(platform, "greeting.say", "--payload", '{"name": "world"}')
        eventually_sync(lambda: status_of(platform, job_id) == "COMPLETED", timeout=20)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(10) == 0
    shown = answer(platform, "jobs", "show", job_id)
    assert isinstance(shown, dict)
    assert shown["job"]["result"] == {"said": "hello world"}
    assert shown["job"]["worker"] == "mine"


def test_a_module_that_is_not_there_is_one_sentence(platform: Platform) -> None:
    done = platform.command("worker", "no.such.module")
    assert done.returncode == 1
    assert "no.such.module" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_shows_every_process(platform: Platform) -> None:
    def all_there() -> bool:
        shown = platform.command("status").stdout
        return all(name in shown for name in ("jobs-1", "audit-1", "health-1", "gateway-1", "worker-1", "worker-2"))

    eventually_sync(all_there, timeout=20)


def test_logs_are_shown_for_people(platform: Platform) -> None:
    shown = platform.command("logs", "jobs", "-n", "5")
    assert shown.returncode == 0
    assert "jobs  " in shown.stdout
    assert "{" not in shown.stdout.splitlines()[0]
    unknown = platform.command("logs", "nothing")
    assert unknown.returncode == 4
    assert "there are: audit, gateway, health, jobs" in unknown.stderr


def test_a_reset_password_lets_in_and_the_old_one_does_not(platform: Platform) -> None:
    done = platform.command("password", "reset", "admin", env=os.environ | {"JOBPLANE_PASSWORD": "a new password"})
    assert done.returncode == 0, done.stderr
    assert platform.token(password="a new password")
    with pytest.raises(AssertionError):
        platform.token()


def test_a_password_is_reset_while_the_platform_does_not_run(tmp_path: Path) -> None:
    mine = Platform(tmp_path, ["--workers", "0"])
    mine.start()
    mine.stop()
    done = mine.command("password", "reset")
    assert done.returncode == 0, done.stderr
    password = done.stdout.split("password: ")[1].split(" ")[0]
    mine.start()
    try:
        assert mine.token(password=password)
    finally:
        mine.stop()


def test_the_demo_turns_photographs_into_thumbnails_and_broken_files_into_readable_failures(tmp_path: Path) -> None:
    mine = Platform(tmp_path)
    mine.start("--demo")
    try:
        eventually_sync(lambda: "16 pictures became 48 jobs" in mine.said(), timeout=60)
        with mine.client() as client:

            def finished() -> bool:
                counts = client.get("/stats").json()["by_status"]
                return int(counts["COMPLETED"]) + int(counts["FAILED"]) == 48

            eventually_sync(finished, timeout=60)
            failed = client.get("/jobs", params={"status": "FAILED", "limit": 50}).json()["items"]
            thumbnail = client.get("/jobs", params={"status": "COMPLETED", "kind": "image.thumbnail"}).json()["items"][
                0
            ]
            picture = client.get(f"/assets/{thumbnail['asset']}/thumbnail")
        assert len({job["asset"] for job in failed}) == 4
        assert {job["error"]["type"] for job in failed} >= {"PictureTooLarge"}
        assert picture.status_code == 200
        assert picture.headers["content-type"].startswith("image/")
    finally:
        mine.stop()
