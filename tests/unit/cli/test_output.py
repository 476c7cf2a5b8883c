"""What is printed for people."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from jobplane.cli import columns, output
from jobplane.cli.columns import Layout

JOB = "01a20740-fae0-7a00-8000-0123456789ab"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(output, "console", lambda: console)
    return screen


def test_numbers_of_many_kinds_show_the_largest_first_and_leave_the_smallest_out() -> None:
    assert output.counts({"b": 1, "c": 3, "a": 1}) == "3 c, 1 a, 1 b"
    assert output.counts({str(number): number for number in range(1, 11)}).endswith("4 4, 3 3, and 2 more")
    assert output.counts(None) == ""


def test_what_a_field_consists_of_has_lines_of_its_own_but_a_payload(capsys: pytest.CaptureFixture[str]) -> None:
    output.fields({"drift": {"added": 2}, "breakdown": {"kind": {"mail": 2}}, "payload": {"to": "x"}})
    assert capsys.readouterr().out.splitlines() == [
        "FIELD           VALUE",
        "drift.added     2",
        "breakdown.kind  2 mail",
        'payload         {"to": "x"}',
    ]


def test_numbers_in_a_payload_or_a_result_are_somebodys_own_json(capsys: pytest.CaptureFixture[str]) -> None:
    output.fields({"payload": {"s": 40}, "result": {"bytes": 7}, "filter": {"payload": {"n": 1}}})
    shown = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert shown == ['{"s": 40}', '{"bytes": 7}', '{"n": 1}']
    output.fields({"result": "40"})
    assert '"40"' in capsys.readouterr().out


def test_an_instant_is_short_and_has_its_date_unless_that_is_today() -> None:
    now = datetime.now(UTC)
    assert len(output.moment(datetime.now(UTC).isoformat())) == 8 or now.date() != datetime.now(UTC).date()
    assert output.moment("2020-11-22T07:13:48.123456Z") == "2020-11-22 07:13:48"
    assert output.moment("2020-11-22T07:13:48+02:00") == "2020-11-22 05:13:48"
    assert output.moment(None) == ""


def test_a_table_that_fits_is_left_as_it_is() -> None:
    assert columns.laid_out([36, 10, 10], 60) == Layout((36, 10, 10), beneath=False)


def test_a_last_column_is_cut_or_stands_beneath_before_anything_else_gives_way() -> None:
    assert columns.laid_out([36, 10, 60], 80) == Layout((36, 10, 30), beneath=False)
    assert columns.laid_out([36, 21, 60], 80) == Layout((36, 21), beneath=True)


@pytest.mark.parametrize("room", [1, 20, 40, 60, 80])
def test_ids_are_whole_however_narrow_it_is(room: int) -> None:
    assert columns.laid_out([36, 15, 24, 9, 60], room).widths[0] == 36


def test_long_columns_on_the_right_give_way_before_others() -> None:
    assert columns.laid_out([16, 6, 24, 15, 60], 65) == Layout((16, 6, 24, 13), beneath=True)
    assert columns.laid_out([16, 6, 24, 15, 60], 60) == Layout((16, 6, 20, 12), beneath=True)


def test_on_a_narrow_terminal_ids_are_whole_and_errors_stand_beneath(terminal: StringIO) -> None:
    headers = ["JOB", "KIND", "QUEUE", "STATUS", "TRY", "AGE", "ERROR"]
    failed = [JOB, "image.thumbnail", "default", "FAILED", "5/5", "12 min", "UnreadableImage: it is cut\noff " * 5]
    fine = [JOB, "image.thumbnail", "default", "COMPLETED", "1/5", "12 min", ""]
    output.table(headers, [failed, fine])
    _, _, first, why, second = shown = terminal.getvalue().splitlines()
    assert max(map(len, shown)) <= 80
    assert first.split() == [JOB, "image.th…", "default", "FAILED", "5/5", "12", "min"]
    assert why.startswith("    UnreadableImage: it is cut off")
    assert why.endswith("…")
    assert "COMPLETED" in second


def test_what_is_to_be_whole_gets_as_many_lines_as_it_needs(terminal: StringIO) -> None:
    output.table(["AT", "EVENT", "REASON"], [["09:48:16", "job.edited.v1", "word " * 30 + "end"]], whole=True)
    _, _, _, *reason = shown = terminal.getvalue().splitlines()
    assert max(map(len, shown)) <= 80
    assert " ".join(" ".join(reason).split()) == "word " * 30 + "end"


def test_without_a_terminal_nothing_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["N", "REASON"], [["17", "x" * 3000]])
    assert capsys.readouterr().out == f"N   REASON\n17  {'x' * 3000}\n"
