"""What the command line understands, and how it fails."""

import json
from pathlib import Path

import pytest

from jobplane.cli import demo_pictures, enqueue, logs, main, output, target
from jobplane.cli.failures import Failed
from jobplane.local import connections
from jobplane.local.connections import CommandLine, NotRunning


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        (["up", "--demo"], ["up", "--demo", "-"]),
        (["up", "--demo", "--port", "1"], ["up", "--demo", "-", "--port", "1"]),
        (["up", "--demo", "-h"], ["up", "--demo", "-", "-h"]),
        (["up", "--demo", "photos"], ["up", "--demo", "photos"]),
        (["jobs", "list"], ["jobs", "list"]),
    ],
)
def test_demo_may_stand_alone(given: list[str], understood: list[str]) -> None:
    assert main.with_builtin_demo(given) == understood


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["jobplane", *arguments])
    with pytest.raises(SystemExit) as end:
        main.main()
    return end.value.code if isinstance(end.value.code, int) else 1


def test_without_a_platform_the_exit_code_is_3_and_the_sentence_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["jobs", "list", "--data", str(tmp_path)], monkeypatch) == 3
    assert "run `jobplane up` first" in capsys.readouterr().err


def test_a_platform_that_is_not_running_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connections.write(
        tmp_path / "connection.json", CommandLine(url="http://127.0.0.1:1", username="local", password="x")
    )
    assert run(["status", "--data", str(tmp_path)], monkeypatch) == 3
    assert "Nobody answers at http://127.0.0.1:1" in capsys.readouterr().err


def test_a_missing_file_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["enqueue", "image.thumbnail", "nowhere.jpg", "--data", str(tmp_path)], monkeypatch) == 2
    assert "There is no such file: nowhere.jpg" in capsys.readouterr().err


def test_a_demo_folder_that_is_not_there_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["up", "--demo", str(tmp_path / "none"), "--data", str(tmp_path)], monkeypatch) == 2


@pytest.mark.parametrize("text", ["{", "[]", "3", "@/nowhere"])
def test_a_payload_must_be_a_json_object(text: str) -> None:
    with pytest.raises(Failed, match="--payload"):
        enqueue.payload_of(text)


def test_another_platform_needs_a_name_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBPLANE_PASSWORD", raising=False)
    with pytest.raises(Failed, match="--username"):
        target.find(Path("unused"), "https://jobs.example.com", None)


def test_another_platform_keeps_no_token_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBPLANE_PASSWORD", "p")
    found = target.find(Path("unused"), "https://jobs.example.com/", "me")
    assert (found.connection.url, found.token_file) == ("https://jobs.example.com", None)


def test_a_damaged_connection_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "connection.json").write_text("{}")
    with pytest.raises(NotRunning, match="damaged"):
        connections.read(tmp_path / "connection.json", CommandLine)


def test_a_log_line_is_readable_and_keeps_its_facts() -> None:
    line = json.dumps({"at": "2026-11-22T13:20:53.843+00:00", "level": "info", "event": "job.retried", "job_id": "7"})
    assert logs.readable(line) == "13:20:53.843 info    job.retried job_id=7"
    assert logs.readable("plain words") == "plain words"


def test_an_age_has_one_unit() -> None:
    assert output.age(None) == ""
    assert output.age("2020-01-01T00:00:00+00:00").endswith(" d")
    assert output.age("2999-01-01T00:00:00+00:00").startswith("in ")


def test_the_broken_demo_files_are_broken_in_four_ways(tmp_path: Path) -> None:
    photograph = tmp_path / "rocket.jpg"
    photograph.write_bytes(b"\xff\xd8" + bytes(3000))
    files = {file.name: file.stat().st_size for file in demo_pictures.broken(tmp_path, photograph)}
    assert files["empty.png"] == 0
    assert files["truncated.jpg"] < 3000
    assert files["bomb.png"] < 100_000
    assert set(files) == {"empty.png", "truncated.jpg", "bomb.png", "not-a-picture.jpg"}


def test_a_folder_gives_its_pictures_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in demo_pictures.of_folder(tmp_path)] == ["a.png", "b.JPG"]
