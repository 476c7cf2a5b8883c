"""How the console speaks, and which addresses it makes and follows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from jobplane.contracts.actors import Actor, ActorKind
from jobplane.contracts.audit import AuditAction
from jobplane.contracts.ids import Position
from jobplane.contracts.job_events import JOB_EVENTS
from jobplane.contracts.jobs import Change, HistoryItem, JobStatus, StopState
from jobplane.contracts.search_grammar import LONGEST_QUERY
from jobplane.gateway.console import words
from jobplane.gateway.console.filters import AuditView, JobsView, local_path
from jobplane.gateway.console.searching import pieces
from jobplane.gateway.problems import Misread
from jobplane.gateway.searches import filter_of

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90_000, "1 d 1 h")],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_what_is_to_come_is_in_the_future() -> None:
    assert words.age(NOON - timedelta(seconds=5), NOON) == "5 s"
    assert words.age(NOON + timedelta(minutes=3), NOON) == "in 3 min"


@pytest.mark.parametrize(("ms", "text"), [(0, "0 ms"), (340, "340 ms"), (2_400, "2.4 s"), (90_000, "1 min")])
def test_measured_lengths_of_time(ms: int, text: str) -> None:
    assert words.duration(timedelta(milliseconds=ms)) == text


def test_everything_that_can_be_shown_has_a_word() -> None:
    assert set(words.STATUS_WORDS) == set(JobStatus)
    assert set(words.STOP_WORDS) == set(StopState)
    assert set(words.EVENT_WORDS) == set(JOB_EVENTS)
    assert words.event_word("job.painted.v7") == "job.painted.v7"
    assert words.action_word(AuditAction.JOB_FORCE_RUN) == "Job force run"


def event(type_: str, **told: Any) -> HistoryItem:
    return HistoryItem(
        position=Position(3),
        version=2,
        type=type_,
        at=NOON,
        actor=Actor(id="worker-1", kind=ActorKind.WORKER),
        reason=None,
        command_id=None,
        trace_id="0" * 32,
        before=JobStatus.RUNNING,
        after=JobStatus.PENDING,
        **told,
    )


def test_an_event_tells_what_is_not_said_elsewhere() -> None:
    item = event(
        "job.failed.v1",
        data={
            "run": 2,
            "attempt": 1,
            "worker": "worker-1",
            "retry_at": "2026-11-22T12:00:30.5+00:00",
            "run_at": "2026-11-22T12:00:00+00:00",
            "error": {"type": "OSError", "message": "disk full"},
        },
        changes=[Change(field="attempt", before=0, after=1)],
    )
    assert words.event_facts(item) == [("run", "2"), ("attempt", "1"), ("next attempt", "2026-11-22 12:00:30 UTC")]
    assert words.event_error(item) == ("OSError", "disk full")


def test_an_edit_tells_what_was_and_what_is_but_no_payload() -> None:
    changes = [
        Change(field="queue", before="default", after="slow-mail"),
        Change(field="priority", before=0, after=-5),
        Change(field="run_at", before="2026-11-22T12:00:00+00:00", after="2026-11-23T12:00:00+00:00"),
        Change(field="forced", before=True, after=False),
        Change(field="payload", before={"to": "ada"}, after={"to": "eve"}),
    ]
    item = event("job.edited.v1", data={"queue": "slow-mail"}, changes=changes)
    assert words.event_facts(item) == [
        ("queue", "default → slow-mail"),
        ("priority", "0 → -5"),
        ("due", "2026-11-22 12:00:00 UTC → 2026-11-23 12:00:00 UTC"),
        ("first in line", "yes → no"),
        ("payload", "changed"),
    ]


@given(st.text())
def test_a_login_leads_only_to_paths_of_this_server(text: str) -> None:
    path = local_path(text)
    assert path in {"/admin", text}
    assert path.startswith("/")
    assert not path.startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "text", ["//evil", "/\\evil", "\\/evil", "https://evil", "/a\nb", "/\t/evil", "", None, "javascript:x"]
)
def test_paths_that_browsers_would_read_otherwise_are_not_followed(text: str | None) -> None:
    assert local_path(text) == "/admin"


def test_unknown_words_in_an_address_are_left_out_and_told() -> None:
    view = JobsView.read(QueryParams("status=failed&status=SLEEPING&status=FAILED&limit=7&kind=a.b%00&queue= q &tag=x"))
    ignored = (("status", "SLEEPING"), ("tag", "x"))
    assert view == JobsView(status=(JobStatus.FAILED,), queue="q", kind="a.b", ignored=ignored)
    assert view.unknown == ["status=SLEEPING", "tag"]
    assert JobsView.read(QueryParams(view.url().partition("?")[2])) == view, "a refresh tells it again"
    assert view.with_status(None) == "/admin/jobs?queue=q&kind=a.b"
    assert AuditView.read(QueryParams("outcome=maybe&action=NOTHING")) == AuditView()


@pytest.mark.parametrize("limit", ["9" * 5000, "\u0661\u0660\u0660", "0100", "-50", "", "x"])
def test_a_page_size_that_is_not_offered_is_the_usual_one(limit: str) -> None:
    assert JobsView.read(QueryParams({"limit": limit})) == JobsView()
    assert AuditView.read(QueryParams({"limit": limit})) == AuditView()


@given(
    st.lists(st.sampled_from(JobStatus), unique=True),
    st.from_regex(r"[a-z0-9_-]{0,64}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9_.-]{0,60}", fullmatch=True),
    st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=100),
    st.sampled_from((50, 100, 200)),
)
def test_a_view_reads_its_own_address(status: list[JobStatus], queue: str, kind: str, q: str, limit: int) -> None:
    in_order = tuple(word for word in JobStatus if word in status)
    view = JobsView(status=in_order, queue=queue, kind=kind, q=q, cursor="abc", limit=limit)
    assert JobsView.read(QueryParams(view.url().partition("?")[2])) == view


def test_a_query_that_is_too_long_stays_so_and_is_not_cut_to_another_meaning() -> None:
    assert len(JobsView.read(QueryParams({"q": "x" * 5000})).q) > LONGEST_QUERY


def test_a_query_is_shown_with_its_wrong_parts_apart() -> None:
    query = "queue:mail stauts:failed older:soon x"
    with pytest.raises(Misread) as misread:
        filter_of(query)
    assert pieces(query, misread.value.errors) == (
        ("queue:mail ", False),
        ("stauts:", True),
        ("failed older:", False),
        ("soon", True),
        (" x", False),
    )
    assert pieces(query, []) == ()


def test_a_counter_shows_its_status_alone_and_lets_go_when_chosen_again() -> None:
    failed = JobsView(status=(JobStatus.FAILED,), queue="q", cursor="c")
    assert failed.with_status(JobStatus.RUNNING) == "/admin/jobs?status=RUNNING&queue=q"
    assert failed.with_status(JobStatus.FAILED) == "/admin/jobs?queue=q"
    assert failed.with_status(None) == "/admin/jobs?queue=q"
