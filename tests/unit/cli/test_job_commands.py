"""What commands make of the answers that the API documents."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobplane.gateway.examples import EXAMPLES
from tests.support.commands import CommandLineOf
from tests.unit.cli.scripted import Gateway, gateway

JOB = "01920a3c-7f00-7a00-8000-0123456789ab"


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as one:
        one.will(f"GET /jobs/{JOB}", EXAMPLES["JobView"])
        one.will(f"GET /jobs/{JOB}/history", EXAMPLES["History"])
        one.will(f"GET /jobs/{JOB}/attempts", EXAMPLES["Attempts"])
        one.will("GET /jobs", EXAMPLES["JobListPage"])
        one.will("GET /stats/jobs", EXAMPLES["JobCount"])
        one.will("GET /queues", EXAMPLES["QueueList"])
        one.will("GET /queues/mail", EXAMPLES["QueueView"])
        one.will("GET /dlq", EXAMPLES["DeadLetterPage"])
        one.will("GET /dlq/17", EXAMPLES["DeadLetterDetail"])
        one.will("GET /operations", EXAMPLES["OperationPage"])
        one.will("GET /operations/a/items", EXAMPLES["OperationItems"] | {"next_cursor": None})
        one.will("GET /operations/a", EXAMPLES["OperationView"])
        yield one


@pytest.fixture
def command(scripted: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLineOf:
    return CommandLineOf(scripted.data, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["jobs", "show", JOB], ["job.retried", "RUN", JOB]),
        (["jobs", "list", "status:failed"], [JOB, "TRY"]),
        (["jobs", "list", "--count"], []),
        (["queues", "list"], ["QUEUE", "STATE", "5 at once, 10 per 60 s (burst 10)"]),
        (["queues", "show", "mail"], ["10 per 60 s (burst 10)"]),
        (["dlq", "list"], ["REPLAYABLE", "17", "position 4711"]),
        (["dlq", "show", "17"], ["service"]),
        (["bulk", "list"], ["OPERATION", "BY", "anna"]),
        (["bulk", "show", "a"], ["total"]),
        (["bulk", "items", "a"], ["OUTCOME"]),
    ],
)
def test_what_the_api_documents_is_shown(command: CommandLineOf, arguments: list[str], shown: list[str]) -> None:
    said = command(*arguments)
    assert said.code == 0, said.err
    for part in shown:
        assert part in said.out


def test_an_error_is_told_whole_where_nobody_looks(scripted: Gateway, command: CommandLineOf) -> None:
    page = copy.deepcopy(EXAMPLES["JobListPage"])
    page["items"][0]["error"] = {"type": "Refused", "message": "no disk " * 20 + "left"}
    scripted.answers["GET /jobs"].clear()
    scripted.will("GET /jobs", page)
    assert command("jobs", "list").out.splitlines()[1].endswith("no disk left")


def test_a_query_reaches_the_api_as_it_was_typed(scripted: Gateway, command: CommandLineOf) -> None:
    command("jobs", "list", "--sort=-priority", "--", "-tag:x", 'error:"timed out"')
    assert scripted.asked[-1].query == {"q": '-tag:x error:"timed out"', "sort": "-priority", "limit": "20"}


def test_a_part_of_a_query_that_is_wrong_is_pointed_at(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.answers["GET /jobs"].clear()
    wrong = {
        "loc": ["query", "q"],
        "msg": "there is no key colour",
        "position": 14,
        "length": 10,
        "token": "colour:red",
    }
    problem = {"detail": "The query cannot be understood.", "code": "invalid_query", "errors": [wrong]}
    scripted.will("GET /jobs", problem, status=422)
    said = command("jobs", "list", "status:failed colour:red")
    told = "The query cannot be understood. (at 14: 'colour:red': there is no key colour) [invalid_query]"
    assert (said.code, said.err) == (1, f"jobplane: {told}\n")


def test_what_the_api_says_first_is_not_said_twice(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.answers["GET /jobs"].clear()
    errors = [
        {"loc": ["query", "status", 0], "msg": "write PENDING"},
        {"loc": ["query", "kind", 0], "msg": "a kind has letters"},
    ]
    scripted.will(
        "GET /jobs", {"detail": "status: write PENDING.", "code": "invalid_request", "errors": errors}, status=422
    )
    told = "status: write PENDING. (query.kind.0: a kind has letters) [invalid_request]"
    assert command("jobs", "list").err == f"jobplane: {told}\n"


def test_history_tells_what_an_edit_made_of_each_field(scripted: Gateway, command: CommandLineOf) -> None:
    scripted.answers[f"GET /jobs/{JOB}/history"].clear()
    [item] = EXAMPLES["History"]["items"]
    changes = [
        {"field": "queue", "before": "default", "after": "slow-mail"},
        {"field": "payload", "before": {"to": "x"}, "after": {"to": "y"}},
    ]
    created = item | {"type": "job.created.v1", "before": None, "reason": None, "changes": changes}
    edited = item | {"type": "job.edited.v1", "changes": changes}
    scripted.will(f"GET /jobs/{JOB}/history", {"items": [created, edited], "next_cursor": None})
    *_, first, shown = command("jobs", "show", JOB).out.splitlines()
    assert "job.created.v1" in first
    assert "queue" not in first
    assert shown.endswith("queue default → slow-mail, payload “the file was uploaded again”")
    assert "2026-11-22 12:00:00  job.edited" in shown


def test_a_payload_file_that_is_not_there_is_said_so(command: CommandLineOf, tmp_path: Path) -> None:
    said = command("enqueue", "mail", "--payload", f"@{tmp_path / 'missing'}")
    assert (said.code, said.err) == (
        2,
        f"jobplane: --payload @{tmp_path / 'missing'} cannot be read: No such file or directory.\n",
    )
