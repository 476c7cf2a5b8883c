"""What is asked before much is done, what is understood of what comes back, and what a queue's rate means."""

import pytest

from jobplane.cli import asking, client, queues, watching
from jobplane.cli.failures import Exit, Failed


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)


def somebody_says(monkeypatch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    asked: list[str] = []

    def confirm(question: str, **_more: object) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", confirm)
    return asked


def test_a_few_jobs_are_changed_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = somebody_says(monkeypatch, answer=False)
    asking.agree("retry 10 jobs", 10, yes=False)
    assert asked == []


def test_many_jobs_are_changed_only_if_it_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = somebody_says(monkeypatch, answer=True)
    asking.agree("retry 11 jobs", 11, yes=False)
    assert asked == ["This will retry 11 jobs. Go on?"]
    somebody_says(monkeypatch, answer=False)
    with pytest.raises(Failed, match="Nothing was done") as no:
        asking.agree("retry 11 jobs", 11, yes=False)
    assert no.value.code == Exit.REFUSED


@pytest.mark.usefixtures("nobody")
def test_a_script_that_changes_many_jobs_says_yes() -> None:
    with pytest.raises(Failed, match="say --yes") as unasked:
        asking.agree("cancel 11 jobs", 11, yes=False)
    assert unasked.value.code == Exit.USAGE
    asking.agree("cancel 11 jobs", 11, yes=True)


def test_server_sent_events_are_read_and_comments_are_not() -> None:
    lines = [
        "retry: 2000",
        "",
        ": keep-alive",
        "",
        "id: 1.j7.a0.h0",
        "event: job.retried.v1",
        'data: {"type":"job.retried.v1",',
        'data: "subject":"a"}',
        "",
        "event: reset",
        "data: {}",
        "",
        "id: 1.j8",
        'data: {"cut": "off"}',
    ]
    assert list(watching.parsed(iter(lines))) == [
        ("job.retried.v1", "1.j7.a0.h0", {"type": "job.retried.v1", "subject": "a"}),
        ("reset", "1.j7.a0.h0", {}),
    ]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        (None, None),
        ("10", {"starts": 10, "every_s": 1, "burst": 2}),
        ("10/60", {"starts": 10, "every_s": 60, "burst": 2}),
    ],
)
def test_a_rate_is_so_many_starts_in_so_many_seconds(text: str | None, rate: object) -> None:
    assert queues.rate_of(text, 2) == rate


@pytest.mark.parametrize("text", ["", "fast", "10/", "10/minute", "/60"])
def test_a_rate_that_means_nothing_is_wrong_usage(text: str) -> None:
    with pytest.raises(Failed, match="--rate") as wrong:
        queues.rate_of(text, 1)
    assert wrong.value.code == Exit.USAGE


def test_what_is_typed_stays_one_part_of_a_path() -> None:
    assert client.part("../audit?x#y") == "..%2Faudit%3Fx%23y"
