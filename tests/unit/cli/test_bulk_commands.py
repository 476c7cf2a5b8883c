"""Bulk operations from the command line: planned, shown, asked for, run, followed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobplane.cli import errors
from jobplane.contracts.operations import OperationView
from tests.support.commands import CommandLineOf
from tests.unit.cli.scripted import Gateway, gateway

ID = "01920a40-0000-7000-8000-00000000b01c"
OTHER = "01920a40-0000-7000-8000-00000000b01d"
ONE = f"/operations/{ID}"


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as one:
        yield one


@pytest.fixture
def command(scripted: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLineOf:
    return CommandLineOf(scripted.data, monkeypatch, capsys)


def operation(status: str, **more: object) -> dict[str, Any]:
    values = {
        "id": ID,
        "action": "retry",
        "status": status,
        "actor": {"id": "01920a3c-0000-7000-8000-000000000001", "role": "ADMIN", "kind": "user"},
        "requested_at": "2026-11-22T12:00:00Z",
        "total": 3,
    }
    return OperationView.model_validate(values | more).model_dump(mode="json")


def will_be_done(scripted: Gateway, total: int = 3, **more: object) -> None:
    scripted.will("POST /jobs/bulk", operation("planning", total=None))
    scripted.will(
        f"GET {ONE}",
        operation("planned", total=total, skipping={"job_not_failed": 1}),
        operation("running", total=total, done=1),
        operation("done", total=total, **({"done": total - 1, "skipped": 1, "codes": {"job_not_failed": 1}} | more)),
    )
    scripted.will(f"POST {ONE}/run", operation("running", total=total))


def test_an_operation_is_planned_run_and_followed_to_its_end(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted)
    said = command("bulk", "retry", "status:failed", "queue:mail", "--reason", "fixed", "--rate", "5")
    assert said.code == 0, said.err
    wish = {"action": "retry", "filter": "status:failed queue:mail", "reason": "fixed", "rate": 5.0, "dry_run": True}
    assert scripted.bodies("POST /jobs/bulk") == [wish]
    assert scripted.bodies(f"POST {ONE}/run") == [{"reason": "fixed"}]
    assert "will be skipped: 1 job_not_failed" in said.err
    assert "done" in said.out


def test_a_script_gets_one_document(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted)
    said = command("bulk", "cancel", "queue:mail", "--json")
    assert (said.json["status"], said.json["done"]) == ("done", 2)


def test_many_jobs_are_not_changed_unasked(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted, total=11)
    refused = command("bulk", "retry", "status:failed")
    assert refused.code == 2
    assert "This will retry 11 jobs" in refused.err
    assert scripted.bodies(f"POST {ONE}/run") == []


def test_a_plan_that_is_not_confirmed_is_not_left_behind(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted, total=11)
    scripted.will(f"POST {ONE}/stop", operation("stopped", total=11))
    assert "Nothing was done." in command("bulk", "retry", "status:failed").err
    assert scripted.bodies(f"POST {ONE}/stop") == [{"reason": "it was not confirmed"}]


def test_a_plan_that_would_skip_each_job_is_not_run(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will("POST /jobs/bulk", operation("planned", skipping={"job_not_failed": 2, "job_not_found": 1}))
    scripted.will(f"POST {ONE}/stop", operation("stopped"))
    said = command("bulk", "retry", "status:completed", "--yes")
    assert said.code == 1
    assert "Of 3 jobs each would be skipped (2 job_not_failed, 1 job_not_found): nothing was done." in said.err
    assert scripted.bodies(f"POST {ONE}/stop") == [{"reason": "each job would be skipped"}]


def test_a_plan_of_an_earlier_dry_run_outlives_a_no(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will(f"GET {ONE}", operation("planned", total=11))
    assert command("bulk", "start", ID).code == 2
    assert scripted.bodies(f"POST {ONE}/stop") == []


def test_many_jobs_are_changed_with_yes(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted, total=11)
    assert command("bulk", "retry", "status:failed", "--yes").code == 0


def test_a_dry_run_changes_nothing_and_says_how_to_go_on(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted, total=40_000)
    said = command("bulk", "retry", "status:failed", "--dry-run")
    assert said.code == 0
    assert f"jobplane bulk start {ID}" in said.out
    assert scripted.bodies(f"POST {ONE}/run") == []


def test_a_plan_is_run_later_unless_it_drifted(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will(f"GET {ONE}", operation("planned"))
    scripted.will(f"POST {ONE}/run", {"detail": "12 more jobs fit now.", "code": "plan_drifted"}, status=409)
    refused = command("bulk", "start", ID, "--max-drift", "10")
    assert (refused.code, refused.err) == (1, "retry: 3 jobs\njobplane: 12 more jobs fit now. [plan_drifted]\n")
    assert scripted.bodies(f"POST {ONE}/run") == [{"max_drift": 10}]


def test_a_plan_that_lacks_its_reason_waits_for_it(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will("POST /jobs/bulk", operation("planned"))
    lacking = {"code": "reason_required", "detail": "A bulk operation of this size needs a reason: say why."}
    scripted.will(f"POST {ONE}/run", lacking, status=422)
    refused = command("bulk", "retry", "status:failed")
    assert refused.code == 1
    assert f"Its plan waits, for a day: jobplane bulk start {ID}\njobplane: A bulk" in refused.err


def test_a_start_that_is_refused_tells_the_drift(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will(f"GET {ONE}", operation("planned"))
    drift = {"detail": "Make a new plan.", "code": "plan_drifted", "added": 1, "gone": 0, "max_drift": 0}
    scripted.will(f"POST {ONE}/run", drift, status=409)
    refused = command("bulk", "start", ID, "--max-drift", "0")
    told = "jobplane: Make a new plan. (+1/−0 since the plan, at most 0 allowed) [plan_drifted]"  # noqa: RUF001 - a minus
    assert (refused.code, refused.err.splitlines()[-1]) == (1, told)


def test_a_start_within_the_drift_tells_it_beside_the_answer(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will(f"GET {ONE}", operation("planned"))
    scripted.will(f"POST {ONE}/run", operation("done", done=3, drift={"added": 1, "gone": 2}))
    said = command("bulk", "start", ID, "--max-drift", "5", "--json")
    assert "+1/−2 since the plan, at most 5 allowed" in said.err  # noqa: RUF001 - a minus
    assert said.json["done"] == 3


def test_a_start_tells_that_its_plan_drifted_whatever_is_allowed(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will(f"GET {ONE}", operation("planned"))
    scripted.will(f"POST {ONE}/run", operation("done", done=3, drift={"added": 2, "gone": 0}))
    scripted.will(f"POST {ONE}/run", operation("done", done=3, drift={"added": 0, "gone": 0}))
    assert "  +2/−0 since the plan\n" in command("bulk", "start", ID, "--yes").err  # noqa: RUF001 - a minus
    assert "since the plan" not in command("bulk", "start", ID, "--yes").err


def test_one_job_is_one_job(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will(f"GET {ONE}", operation("planned", total=1))
    scripted.will(f"POST {ONE}/run", operation("done", total=1, skipped=1))
    told = ["retry: 1 job", "jobplane: The operation is done: 0 of 1 job was changed."]
    assert command("bulk", "start", ID).err.splitlines() == told


def test_an_operation_that_fits_nothing_or_changes_nothing_fails(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will("POST /jobs/bulk", operation("planned", total=0))
    assert "No job fits" in command("bulk", "retry", "status:failed").err
    assert scripted.bodies(f"POST {ONE}/stop") == [{"reason": "no job fits"}]
    scripted.will(f"GET {ONE}", operation("done", done=0, skipped=3))
    assert command("bulk", "watch", ID).code == 1


def test_a_detached_operation_is_not_followed(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted)
    assert command("bulk", "retry", "status:failed", "--detach", "--json").json["status"] == "running"


def test_ids_come_from_a_file(scripted: Gateway, command: CommandLineOf, tmp_path: Path) -> None:
    will_be_done(scripted)
    ids = tmp_path / "ids"
    ids.write_text(f"{ID}\n{OTHER}\n")
    assert command("bulk", "run", "--ids-from", str(ids)).code == 0
    assert scripted.bodies("POST /jobs/bulk")[0]["ids"] == [ID, OTHER]


def test_what_is_no_id_is_told_as_it_was_written(scripted: Gateway, command: CommandLineOf, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    ids.write_text(f"{ID}\nJOB\n{OTHER}\n")
    said = command("bulk", "run", "--ids-from", str(ids))
    assert (said.code, "'JOB'" in said.err, scripted.asked) == (2, True, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["retry", " "],
        ["retry", "status:failed", "--ids-from", "-"],
        ["edit", "status:failed"],
        ["run", "--ids-from", "/no"],
    ],
)
def test_what_is_to_be_done_to_which_jobs_must_be_said(command: CommandLineOf, arguments: list[str]) -> None:
    assert command("bulk", *arguments).code == 2


def test_an_operation_is_taken_back(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted)
    scripted.will(f"POST {ONE}/undo", operation("planned", undo_of=ID))
    assert command("bulk", "undo", ID, "--reason", "wrong queue").code == 0
    assert scripted.bodies(f"POST {ONE}/undo") == [{"reason": "wrong queue", "dry_run": True}]


def test_the_failed_jobs_of_a_group_are_retried_as_one_operation(scripted: Gateway, command: CommandLineOf) -> None:
    will_be_done(scripted)
    scripted.will("GET /errors/9f86d081884c7d65", {"fingerprint": "9f86d081884c7d65"})
    assert command("errors", "retry", "9f86d081884c7d65").code == 0
    assert scripted.bodies("POST /jobs/bulk")[0]["filter"] == "fingerprint:9f86d081884c7d65 status:failed"


@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_nothing_is_planned_for_a_group_that_does_not_exist(
    scripted: Gateway, command: CommandLineOf, verb: str
) -> None:
    assert command("errors", verb, "0" * 16).code == 4
    assert scripted.bodies("POST /jobs/bulk") == []


def test_a_list_says_who_asked_and_what_is_taken_back(scripted: Gateway, command: CommandLineOf) -> None:
    one, two = operation("done", undo_of=ID, reason="wrong", actor_name="anna"), operation("done")
    scripted.will("GET /operations", {"items": [one, two], "next_cursor": None})
    _, first, second = command("bulk", "list").out.splitlines()
    assert "  anna  " in first
    assert first.endswith(f"undo of {ID}, wrong")
    assert two["actor"]["id"] in second


def test_an_operation_tells_the_names_of_its_errors(scripted: Gateway, command: CommandLineOf) -> None:
    breakdown = {"error": {"9f86d081884c7d65": 3}, "error_types": {"9f86d081884c7d65": "Timeout"}}
    scripted.will(f"GET {ONE}", operation("planned", breakdown=breakdown))
    said = command("bulk", "show", ID)
    assert "3 Timeout (9f86d081884c7d65)" in said.out
    assert "error_types" not in said.out


def test_jobs_are_named_in_one_way(command: CommandLineOf) -> None:
    assert "in one way" in command("bulk", "retry", "status:failed", "--ids-from", "-").err


def test_a_trend_is_drawn() -> None:
    assert errors.trend([0, 1, 4, 8]) == "·▁▄█"
    assert errors.trend([0, 0]) == "··"
    assert errors.trend([3]) == "█"


def test_dead_letters_are_only_deleted_when_that_is_confirmed(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will("POST /dlq/17/discard", {"seq": 17})
    assert command("dlq", "discard", "17").code == 2
    assert scripted.asked == []
    assert "discarded" in command("dlq", "discard", "17", "--yes").out


def test_a_replay_that_is_refused_fails_and_the_others_are_tried(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will("POST /dlq/1/replay", {"detail": "It cannot be read.", "code": "still_unreadable"}, status=409)
    scripted.will("POST /dlq/2/replay", {"seq": 2, "command_id": "c", "status": "done", "job_id": "j"})
    said = command("dlq", "replay", "1", "2")
    assert said.code == 1
    assert "[still_unreadable]" in said.err
    assert "done" in said.out


def _letters(*numbers: int, replayable: bool = True) -> list[dict[str, object]]:
    return [{"seq": number, "replayable": replayable} for number in numbers]


def test_all_dead_letters_are_replayed_as_they_came(scripted: Gateway, command: CommandLineOf) -> None:
    pages = [{"items": _letters(9, 8), "next_cursor": "c"}, {"items": [*_letters(7, replayable=False), *_letters(2)]}]
    scripted.will("GET /dlq", *pages)
    for number in (2, 8, 9):
        scripted.will(f"POST /dlq/{number}/replay", {"seq": number, "status": "done"})
    said = command("dlq", "replay", "--all", "--service", "audit", "--reason", "mended")
    assert said.code == 0, said.err
    asked = [one.what for one in scripted.asked if one.what.startswith("POST /dlq")]
    assert asked == ["POST /dlq/2/replay", "POST /dlq/8/replay", "POST /dlq/9/replay"]
    assert {one.query["service"] for one in scripted.asked if one.what == "GET /dlq"} == {"audit"}
    assert scripted.bodies("POST /dlq/2/replay") == [{"reason": "mended"}]
    assert "1 of 4 dead letters cannot be replayed" in said.err


def test_many_dead_letters_are_only_replayed_when_that_is_confirmed(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will("GET /dlq", {"items": _letters(*range(20, 0, -1))})
    said = command("dlq", "replay", "--all")
    assert said.code == 2
    assert "replay 20 dead letters" in said.err
    assert [one.what for one in scripted.asked if "replay" in one.what] == []


def test_all_of_none_is_nothing_to_do(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.will("GET /dlq", {"items": []})
    assert "No dead letters to discard" in command("dlq", "discard", "--all").out


@pytest.mark.parametrize("wrong", [["replay"], ["replay", "17", "--all"], ["discard", "17", "--what", "command"]])
def test_dead_letters_are_named_by_numbers_or_all_of_them(wrong: list[str], command: CommandLineOf) -> None:
    said = command("dlq", *wrong)
    assert said.code == 2
    assert "--all" in said.err
