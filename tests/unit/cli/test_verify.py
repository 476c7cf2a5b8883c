"""What `jobplane verify` makes of what it read, and how it says so."""

import io
from typing import Any

import pytest
from rich.console import Console

from jobplane.cli.failures import Exit, Failed
from jobplane.cli.verify import audit, command, jobs, positions, report, stream
from jobplane.cli.verify.sources import Head, pages
from jobplane.cli.verify.verdict import INVARIANTS, KEPT, Status, Tally

ROW = (7, "7", "id", "job.created.v1", "stream", "1", None, '{"a": "ä"}')
HEADERS = {
    "ce-sequence": "7",
    "ce-id": "id",
    "ce-type": "job.created.v1",
    "ce-subject": "stream",
    "ce-streamversion": "1",
}
MESSAGE = (7, HEADERS, '{"a": "ä"}'.encode())


def tallies(*, wrong: int = 0, unjudged: str | None = None) -> list[Tally]:
    found = [Tally(name, expected=10_000, checked=10_000, seconds=2.0) for name in INVARIANTS]
    for number in range(wrong):
        found[0].violation(
            "a position is missing", f"jobs position {number}", "Compare with a backup, then restore it."
        )
    found[1].unjudged = unjudged
    found[2].note("jobs: 12 events are not relayed yet")
    return found


def head(**more: Any) -> Head:
    return Head(**({"position": 20, "epoch": 1, "first": 1, "halted": None, "lowest": 1} | more))


def shown(found: list[Tally], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    report.show(console, {"jobs": head(), "gateway": head(position=3)}, found)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize(
    ("only", "names"),
    [(None, list(INVARIANTS)), ("I2", ["I2"]), ("i5, I1", ["I1", "I5"]), ("I3,I3,", ["I3"])],
)
def test_invariants_are_chosen_by_name(only: str | None, names: list[str]) -> None:
    assert command.chosen(only) == names


@pytest.mark.parametrize("only", ["I0", "", "I1,x"])
def test_an_unknown_invariant_is_wrong_usage(only: str) -> None:
    with pytest.raises(Failed, match="--only knows I1, I2") as failure:
        command.chosen(only)
    assert failure.value.code is Exit.USAGE


def test_the_exit_code_tells_violations_from_what_could_not_be_read() -> None:
    assert command.exit_code(tallies()) is Exit.OK
    assert command.exit_code(tallies(unjudged="the bus is away")) is Exit.UNREACHABLE
    assert command.exit_code(tallies(wrong=1, unjudged="the bus is away")) is Exit.REFUSED


def test_a_violation_stays_one_where_the_look_was_not_finished() -> None:
    tally = Tally("I1", unjudged="the database went away")
    before = tally.status
    tally.violation("what", "where", "advice")
    assert (before, tally.status) == (Status.UNJUDGED, Status.VIOLATED)


def test_however_much_is_wrong_only_some_is_told_one_by_one() -> None:
    found = tallies(wrong=KEPT + 1000)
    assert (len(found[0].violations), found[0].count) == (KEPT, KEPT + 1000)
    assert "… and 1,000 more like these" in shown(found, 80)
    assert report.as_dict({}, found)["invariants"][0]["violation_count"] == KEPT + 1000


@pytest.mark.parametrize("width", [80, 200])
def test_the_result_fits_the_terminal(width: int) -> None:
    text = shown(tallies(wrong=2, unjudged="NATS does not answer at 127.0.0.1:4222"), width)
    assert max(map(len, text.splitlines())) <= width
    assert "✗  I1  positions are gapless" in text
    assert "jobs position 1: a position is missing" in text
    assert "→ Compare with a backup, then restore it." in text
    assert "NATS does not answer" in text
    assert "I3  jobs: 12 events are not relayed yet" in text
    assert "2 violations of I1" in text


def test_the_last_line_says_how_it_went() -> None:
    assert report.summary(tallies()).plain == "all 9 invariants hold (18.0 s)"
    assert report.summary(tallies()[:1]).plain == "the invariant holds (2.0 s)"
    assert report.summary(tallies(wrong=1)).plain == "1 violation of I1 (18.0 s)"
    assert report.summary(tallies(unjudged="x")).plain == "no violation found, but I2 could not be judged (18.0 s)"


def test_scripts_get_the_worst_status_and_the_positions() -> None:
    told = report.as_dict({"jobs": head()}, tallies(wrong=1, unjudged="x"))
    assert (told["status"], told["positions"], told["epochs"]) == ("violated", {"jobs": 20}, {"jobs": 1})
    assert report.as_dict({}, tallies())["status"] == "ok"


def test_pages_cover_a_span_without_overlap() -> None:
    assert list(pages(3, 10, 3)) == [(3, 6), (6, 9), (9, 10)]
    assert list(pages(3, 3, 3)) == []


def test_a_gap_across_the_end_of_a_page_is_one_gap() -> None:
    assert positions.joined([(3, 5), (6, 8), (10, 10)]) == [(3, 8), (10, 10)]


@pytest.mark.parametrize(
    ("known", "gaps", "violations", "notes"),
    [
        (head(), [(4, 4)], 1, 0),
        (head(epoch=2, first=10), [(6, 9)], 0, 1),
        (head(epoch=2, first=10), [(3, 4), (6, 9)], 1, 1),
        (head(epoch=2, first=10), [(12, 12)], 1, 0),
        (head(epoch=3, first=10), [(3, 4), (6, 9)], 0, 2),
    ],
)
def test_each_new_epoch_explains_one_gap(known: Head, gaps: list[tuple[int, int]], violations: int, notes: int) -> None:
    tally = Tally("I1")
    positions.judge(tally, "jobs", known, gaps)
    assert (tally.count, len(tally.notes)) == (violations, notes)


def test_a_message_is_the_row_or_says_what_differs() -> None:
    assert stream.same([ROW], [MESSAGE])
    assert not stream.same([ROW], [])
    assert not stream.same([ROW], [(8, HEADERS, MESSAGE[2])])
    assert not stream.same([ROW], [(7, None, MESSAGE[2])])
    other = (7, HEADERS | {"ce-subject": "other", "ce-commandid": "c"}, b"{}")
    assert not stream.same([ROW], [other])
    assert stream.difference(ROW, other) == "ce-subject, ce-commandid, body"


def test_the_stream_may_lack_an_event_or_have_one_too_many() -> None:
    tally = Tally("I2")
    stream.tell(tally, "jobs", [ROW], [(8, HEADERS, b"{}")])
    assert [violation.what for violation in tally.violations] == [
        "the stream lacks this event",
        "the stream has an event that the journal has not",
    ]


def test_a_buried_event_is_no_hole_in_the_audit_log() -> None:
    tally = Tally("I6")
    audit.judge(tally, "jobs", [(1, "-"), (2, "-")], [(1, "-")], {2})
    assert tally.count == 0
    audit.judge(tally, "jobs", [(1, "-"), (2, "-")], [(1, "-")], set())
    assert tally.violations[0].where == "jobs position 2"


def test_what_an_earlier_epoch_left_is_a_note() -> None:
    tally = Tally("I6")
    audit.judge(tally, "jobs", [(4, "a")], [(4, "b"), (5, "c")], set(), earlier=6)
    assert (tally.count, tally.notes) == (
        0,
        ["jobs: 2 positions of earlier epochs differ between journal and audit log"],
    )


def test_a_row_names_only_the_columns_that_are_wrong() -> None:
    columns = (3, 9, "FAILED", 1, 1, 0, "q", "k", None, False)
    events = (3, 9, "COMPLETED", 1, 1, 0, "q", "k", "confirmed", False)
    assert jobs.fault(("id", 3, *columns, *events)) == (
        "status is FAILED, its events say COMPLETED; stop is none, its events say confirmed"
    )
    nothing = (None,) * len(columns)
    assert jobs.fault(("id", None, *columns, *nothing)) == "the job has no events"
    assert jobs.fault(("id", 3, *nothing, *events)) == "the job has 3 events, but no row"
