"""What is printed for people."""

import pytest

from jobplane.cli import output


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
