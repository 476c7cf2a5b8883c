"""Jobs and queues, steered from the command line against a running platform."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobplane.chassis import bus
from tests.support.commands import CommandLineOf
from tests.support.platform import JOBPLANE, Platform
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system

NOBODY_RUNS = "nobody.runs.this"


@pytest.fixture
def command(platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLineOf:
    return CommandLineOf(platform.data, monkeypatch, capsys)


def answer(command: CommandLineOf, *arguments: str) -> Any:
    done = command(*arguments, "--json")
    assert done.code == 0, done.err
    return done.json


def create(command: CommandLineOf, payload: dict[str, object], *more: str) -> str:
    return str(answer(command, "enqueue", NOBODY_RUNS, "--payload", json.dumps(payload), *more)[0]["id"])


def test_jobs_are_found_by_the_query_that_the_api_understands(command: CommandLineOf) -> None:
    wanted = create(command, {"user": 42}, "--tag", "sought")
    create(command, {"user": 43}, "--tag", "sought")
    found = eventually_sync(lambda: answer(command, "jobs", "list", "payload.user:42", "tag:sought")["items"])
    assert [job["id"] for job in found] == [wanted]
    lines = command("jobs", "list", "--all", "--json", "tag:sought").out.splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 2
    counted = command("jobs", "list", "--count", "tag:sought")
    assert counted.out == "2\n"


def test_a_query_that_means_nothing_is_pointed_at(command: CommandLineOf) -> None:
    refused = command("jobs", "list", "status:failed colour:red")
    assert refused.code == 1
    assert "[invalid_query]" in refused.err
    assert "colour" in refused.err
    assert "at 14" in refused.err


def test_a_job_is_edited_cancelled_restored_and_copied(command: CommandLineOf) -> None:
    job_id = create(command, {"side": 320})
    version = str(answer(command, "jobs", "show", job_id)["job"]["version"])
    edited = answer(command, "jobs", "edit", job_id, "--priority", "7", "--if-version", version)
    assert edited["job"]["priority"] == 7
    late = command("jobs", "edit", job_id, "--priority", "8", "--if-version", version)
    assert (late.code, "[version_conflict]" in late.err) == (1, True)
    assert answer(command, "jobs", "cancel", job_id)[0]["job"]["status"] == "CANCELLED"
    assert answer(command, "jobs", "restore", job_id)[0]["job"]["status"] == "PENDING"
    copy = answer(command, "jobs", "clone", job_id, "--payload", '{"side": 640}')
    assert (copy["cloned_from"], copy["priority"]) == (job_id, 7)
    shown = command("jobs", "show", job_id)
    assert shown.code == 0, shown.err
    assert "job.edited" in shown.out
    assert "priority" in shown.out
    was = answer(command, "jobs", "show", job_id, "--as-of", str(edited["position"] - 1))["job"]
    assert was["priority"] == 0


def test_an_edit_without_a_change_is_wrong_usage(command: CommandLineOf) -> None:
    assert command("jobs", "edit", "01a20370-9980-71bf-910c-c329a24a71ea").code == 2


def test_many_jobs_are_not_changed_unasked(command: CommandLineOf) -> None:
    nobody = [f"01a20370-9980-71bf-910c-c329a24a71{n:02}" for n in range(11)]
    refused = command("jobs", "cancel", *nobody)
    assert refused.code == 2
    assert "--yes" in refused.err
    assert command("jobs", "cancel", *nobody, "--yes").code == 4


def test_a_watch_ends_when_its_jobs_are_finished_and_says_how(
    platform: Platform, command: CommandLineOf, tmp_path: Path
) -> None:
    job_id = create(command, {})
    following: list[str | Path] = [JOBPLANE, "jobs", "watch", job_id, "--json", "--data", platform.data]
    told = tmp_path / "told"
    with told.open("wb") as out, subprocess.Popen(following, stdout=out, stderr=subprocess.PIPE) as watch:
        priority = iter(range(1, 1000))

        def told_something() -> bool:
            command("jobs", "edit", job_id, "--priority", str(next(priority)))
            return bool(told.read_text())

        eventually_sync(told_something, timeout=30)
        command("jobs", "cancel", job_id)
        assert watch.wait(30) == 1
    last = json.loads(told.read_text().splitlines()[-1])
    assert (last["type"], last["subject"]) == ("job.cancelled.v1", job_id)
    again = command("jobs", "watch", job_id)
    assert again.code == 1
    assert "Not all of these jobs were completed" in again.err


def test_a_queue_is_paused_limited_and_resumed(command: CommandLineOf) -> None:
    create(command, {}, "--queue", "steered")
    paused = answer(command, "queues", "pause", "steered", "--reason", "a test")
    assert paused["queue"]["state"] == "paused"
    shown = command("queues", "list").out
    assert "steered" in shown
    assert "a test" in shown
    assert command("queues", "pause", "steered").code == 1
    limited = answer(command, "queues", "limit", "steered", "--concurrency", "2", "--rate", "10/60")
    assert limited["queue"]["limits"]["rate"]["every_s"] == 60
    assert answer(command, "queues", "resume", "steered")["queue"]["state"] == "active"
    assert answer(command, "queues", "limit", "steered", "--none")["queue"]["limits"] is None
    assert answer(command, "queues", "drain", NOBODY_RUNS, "--kind")["queue"]["state"] == "drained"
    assert answer(command, "queues", "resume", NOBODY_RUNS, "--kind")["queue"]["kind"] == NOBODY_RUNS
    assert command("queues", "show", "no-such-queue").code == 4


def test_many_jobs_are_cancelled_and_restored_as_one_operation(command: CommandLineOf, tmp_path: Path) -> None:
    ids = {create(command, {"n": n}, "--queue", "bulk-steered") for n in range(12)}
    named = tmp_path / "ids"
    named.write_text("\n".join(ids))
    unasked = command("bulk", "cancel", "--ids-from", str(named))
    assert (unasked.code, "This will cancel 12 jobs" in unasked.err) == (2, True)
    done = answer(command, "bulk", "cancel", "--ids-from", str(named), "--yes", "--reason", "a test")
    assert (done["status"], done["done"]) == ("done", 12)
    items = [json.loads(line) for line in command("bulk", "items", done["id"], "--json").out.splitlines()]
    assert {item["job_id"] for item in items} == ids
    assert done["id"] in command("bulk", "list").out
    undone = answer(command, "bulk", "undo", done["id"], "--yes", "--reason", "a test")
    assert (undone["action"], undone["done"]) == ("restore", 12)


def test_an_incident_is_found_understood_acted_on_and_taken_back(command: CommandLineOf) -> None:
    kind, tag = "image.thumbnail", "tag:incident"
    for _ in range(11):  # a picture without a file: none of them can be done
        answer(command, "enqueue", kind, "--max-attempts", "1", "--tag", "incident")
    eventually_sync(lambda: command("jobs", "list", "--count", f"status:failed {tag}").out == "11\n", timeout=20)
    [group] = answer(command, "errors", "list", "--kind", kind, "--sort", "failed_now")["items"]
    cause = group["fingerprint"]
    assert group["failed_now"] == 11
    assert group["type"] in command("errors", "show", cause).out
    answer(command, "queues", "pause", kind, "--kind", "--reason", "an incident")
    plan = answer(command, "errors", "retry", cause, "--dry-run")
    assert (plan["status"], plan["total"], plan["breakdown"]["status"]) == ("planned", 11, {"FAILED": 11})
    unasked = command("errors", "retry", cause)
    assert (unasked.code, "This will retry 11 jobs" in unasked.err) == (2, True)
    done = answer(command, "errors", "retry", cause, "--yes", "--reason", "the files are there")
    assert (done["status"], done["done"]) == ("done", 11)
    assert command("errors", "retry", cause, "--yes").code == 1  # no job of it is FAILED any more
    assert command("jobs", "list", "--count", f"status:pending {tag}").out == "11\n"
    undone = answer(command, "bulk", "undo", done["id"], "--yes", "--reason", "they are not")
    assert (undone["action"], undone["done"]) == ("cancel", 11)
    assert command("errors", "cancel", cause, "--yes").code == 1
    assert command("errors", "show", "0" * 16).code == 4
    assert answer(command, "queues", "resume", kind, "--kind")["queue"]["state"] == "active"


def test_an_operation_is_paused_resumed_and_stopped(command: CommandLineOf) -> None:
    for _ in range(3):
        create(command, {}, "--queue", "slowly", "--tag", "slowly")
    slow = ["bulk", "edit", "queue:slowly status:pending", "--set-priority", "9", "--rate", "0.1", "--detach"]
    begun = answer(command, *slow, "--reason", "a test")["id"]
    for verb, status in (("pause", "paused"), ("resume", "running"), ("stop", "stopped")):
        answer(command, "bulk", verb, begun)
        assert answer(command, "bulk", "show", begun)["status"] == status
    assert command("bulk", "watch", begun).code == 1
    assert command("bulk", "resume", begun).code == 1
    assert command("bulk", "show", "01a20370-9980-71bf-910c-c329a24a71ea").code == 4


def test_a_dead_letter_is_looked_at_without_its_secrets_and_discarded(
    platform: Platform, command: CommandLineOf
) -> None:
    async def send_noise() -> None:
        nc = await bus.connect(platform.producer_url, user="producer", name="noise")
        await nc.publish("jobs.cmd.producer.create", b'{"password": "hunter2"')
        await bus.close(nc)

    assert answer(command, "dlq", "list")["items"] == []
    assert command("dlq", "show", "17").code == 4
    asyncio.run(send_noise())
    [letter] = eventually_sync(lambda: answer(command, "dlq", "list", "--what", "command")["items"])
    number = str(letter["seq"])
    shown = command("dlq", "show", number)
    assert (shown.code, "[redacted]" in shown.out, "hunter2" in shown.out) == (0, True, False)
    refused = command("dlq", "replay", number)
    assert (refused.code, "[still_unreadable]" in refused.err) == (1, True)
    assert command("dlq", "discard", number).code == 2
    assert command("dlq", "discard", number, "--yes", "--reason", "noise").code == 0
    asyncio.run(send_noise())
    eventually_sync(lambda: answer(command, "dlq", "list", "--service", "jobs")["items"])
    assert command("dlq", "replay", "--all").code == 1
    assert command("dlq", "discard", "--all", "--what", "command", "--yes").code == 0
    assert answer(command, "dlq", "list")["items"] == []


def test_secrets_are_shown_to_whoever_says_why(command: CommandLineOf) -> None:
    job_id = create(command, {"api_key": "hunter2"})
    assert "hunter2" not in command("jobs", "show", job_id).out + command("jobs", "show", job_id, "--json").out
    assert command("jobs", "reveal", job_id).code == 2
    revealed = answer(command, "jobs", "reveal", job_id, "--reason", "the key is said to be wrong")
    assert revealed["payload"] == {"api_key": "hunter2"}
    copy = answer(command, "jobs", "clone", job_id)["id"]
    assert answer(command, "jobs", "reveal", copy, "--reason", "a test")["payload"] == {"api_key": "hunter2"}
