"""The query grammar: what means which filter, and where exactly a query is wrong."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.contracts.contradictions import contradiction
from jobplane.contracts.job_filter import (
    Bounds,
    Excluded,
    JobFilter,
    PayloadIs,
    PayloadValue,
    Span,
    Words,
    conjoined,
)
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.search_format import formatted
from jobplane.contracts.search_grammar import KEYS, InvalidQuery, parse
from jobplane.contracts.search_words import words

_DAY = datetime(2026, 11, 1, tzinfo=UTC)


def _payload(path: str, *values: PayloadValue) -> PayloadIs:
    return PayloadIs(path=tuple(path.split(".")), values=values)


_MEANS = {
    "": JobFilter(),
    "status:failed": JobFilter(status=(JobStatus.FAILED,)),
    "status:failed,CANCELLED": JobFilter(status=(JobStatus.FAILED, JobStatus.CANCELLED)),
    "status:failed status:cancelled": JobFilter(status=(JobStatus.FAILED, JobStatus.CANCELLED)),
    "kind:image.* -tag:slow": JobFilter(kind=("image.*",), excluded=Excluded(tag=("slow",))),
    "payload.user:42": JobFilter(payload=(_payload("user", PayloadValue(text="42")),)),
    'payload.user:"42",7': JobFilter(
        payload=(_payload("user", PayloadValue(text="42", quoted=True), PayloadValue(text="7")),)
    ),
    'payload.a."b.c":"x y"': JobFilter(payload=(PayloadIs(path=("a", "b.c"), values=(PayloadValue(text="x y"),)),)),
    'error:"timed out",reset*': JobFilter(error=(Words(text="timed out"), Words(text="reset", prefix=True))),
    'timeout "free text"': JobFilter(text=(Words(text="timeout"), Words(text="free text"))),
    r'"say \"hi\""': JobFilter(text=(Words(text='say "hi"'),)),
    "older:2h newer:1d": JobFilter(older=timedelta(hours=2), newer=timedelta(days=1)),
    "created:2026-11-01": JobFilter(created=Span(since=_DAY, until=_DAY + timedelta(days=1))),
    "created:2026-11-01..2026-11-02": JobFilter(created=Span(since=_DAY, until=_DAY + timedelta(days=2))),
    "run_at:>2026-11-01": JobFilter(run_at=Span(since=_DAY + timedelta(days=1))),
    "started:<=2026-11-01T02:00:00+02:00": JobFilter(started=Span(until=_DAY + timedelta(microseconds=1))),
    "created:>=2026-11-01 created:<2026-11-02": JobFilter(created=Span(since=_DAY, until=_DAY + timedelta(days=1))),
    "priority:>=3": JobFilter(priority=Bounds(least=3)),
    "attempt:1..5 priority:-2": JobFilter(attempt=Bounds(least=1, most=5), priority=Bounds(least=-2, most=-2)),
    "id:01920A3C-7f": JobFilter(id=("01920a3c-7f",)),
}


@pytest.mark.parametrize("query", _MEANS)
def test_a_query_means_its_filter(query: str) -> None:
    assert parse(query) == _MEANS[query]


_WRONG = {
    "stauts:failed": ("stauts:", 'did you mean "status"?'),
    "state:failed": ("state:", 'did you mean "status"?'),
    "queue:mail status:faild": ("faild", "did you mean failed?"),
    "status:nope": ("nope", "there are pending, running, completed, failed, cancelled"),
    "status:": (":", "status needs a value"),
    "status:failed,": (",", "another value"),
    'kind:a "open': ('"open', "quotes are not closed"),
    'foo"bar"': ('foo"', "a space is missing"),
    "-word": ("-word", "free text cannot be excluded"),
    "-worker:w-1": ("-worker:w-1", "can be excluded"),
    "http://host": ("http:", "put it in quotes"),
    "a*b": ("a*b", "at the end only"),
    "ab*": ("ab*", "at least 3"),
    "...": ("...", "no letter and no digit"),
    "worker:w*": ("w*", "takes whole values"),
    "tag:w*": ("w*", "takes whole values"),
    "created:yesterday": ("yesterday", "write a day"),
    "created:2026-11-01T10:00": ("2026-11-01T10:00", "time zone"),
    "created:2026-13-01": ("2026-13-01", "no such day"),
    "created:2026-11-01T10:00Z": ("2026-11-01T10:00Z", "one instant"),
    "created:2026-11-02..2026-11-01": ("2026-11-02..2026-11-01", "empty"),
    "created:2026-11-01,2026-11-02": ("created:2026-11-01,2026-11-02", "no list"),
    "attempt:9..1": ("9..1", "empty"),
    "attempt:>5 attempt:<5": ("<5", "empty"),
    "older:2": ("2", "2h"),
    "older:1h older:2h": ("2h", "given twice"),
    "older:2h newer:1h": ("newer:1h", "both older and newer"),
    "status:failed -status:failed": ("-status:failed", "excluded"),
    "kind:a.* queue:q -kind:a.*": ("-kind:a.*", "every kind that is wanted is excluded"),
    "-status:pending,running,completed,failed,cancelled": (
        "-status:pending,running,completed,failed,cancelled",
        "every status",
    ),
    "status:running,pending finished:>2026-11-01": ("finished:>2026-11-01", "have not finished"),
    "error:x status:completed tag:y": ("status:completed", "no error any more"),
    "status:completed fingerprint:0123456789abcdef": ("fingerprint:0123456789abcdef", "no error any more"),
    "created:>2026-11-02 finished:2026-11-01": ("finished:2026-11-01", "no job is finished before it is created"),
    "started:<2026-11-01 created:2026-11-01": ("created:2026-11-01", "no job is started before"),
    "priority:>1000": ("priority:>1000", "between -1000 and 1000"),
    "attempt:<0": ("attempt:<0", "no job has such an attempt"),
    "priority:99999999999999999999": ("99999999999999999999", "too large"),
    "older:999999999999d": ("999999999999d", "more than ten years"),
    "older:0h": ("0h", "nothing takes no time"),
    "newer:1.5h": ("1.5h", "whole numbers"),
    "status:failed OR kind:x": ("OR", "with commas"),
    "timeout || kind:x": ("||", "with commas"),
    "status:failed and kind:x": ("and", "must hold anyway"),
    "NOT status:failed": ("NOT", "-status:failed"),
    "!timeout": ("!timeout", "to exclude it"),
    "-NOT": ("-NOT", "to exclude it"),
    "(timeout": ("(timeout", "brackets"),
    "timeout)": ("timeout)", "brackets"),
    "tag:(a,b": ("(a", "brackets"),
    "created:[2026-11-01": ("[2026-11-01", "brackets"),
    "error:'timed": ("'timed", "double quotes"),
    "“timed": ("“timed", "double quotes"),
    "status=failed": ("status=failed", "write status:failed"),
    "state!=failed": ("state!=failed", "write -status:failed"),
    "priority>=5": ("priority>=5", "write priority:>=5"),
    "payload.n=5": ("payload.n=5", "write payload.n:5"),
    "payload.n:>5": (">5", "not by their order"),
    "payload.n:1..5": ("1..5", "not by their order"),
    "tag:a*b": ("a*b", "takes whole values"),
    "tag:*": ("*", "takes whole values"),
    "id:0192*": ("0192*", "leave the * out"),
    ":failed": (":failed", "stands a key"),
    "created:>2026-11-01 12:00": ("12:00", "2026-11-01T12:00Z"),
    "payload:42": ("payload:", "payload.user:42"),
    "payload.:1": ("payload.:1", "a part of the path is missing"),
    "payload.a..b:1": ("payload.a..b:1", "a part of the path is missing"),
    "status.x:failed": ("status.x:", "only payload has parts"),
    "id:zz": ("zz", "beginning of an id"),
    "fingerprint:abc": ("abc", "16 hexadecimal"),
    "queue:Mail": ("Mail", "lower-case"),
    "\x00": ("\x00", "control character"),
    "a\x00b": ("a\x00b", "control character"),
    "tag:a\x00b": ("a\x00b", "control character"),
}


@pytest.mark.parametrize("query", _WRONG)
def test_an_error_points_at_the_part_that_is_wrong(query: str) -> None:
    token, told = _WRONG[query]
    with pytest.raises(InvalidQuery) as caught:
        parse(query)
    [error] = caught.value.errors
    assert error.token == token
    assert query[error.position : error.position + error.length] == token
    assert told in error.msg


_AS_THEY_ARE = {
    '"OR"': JobFilter(text=(Words(text="OR"),)),
    "android": JobFilter(text=(Words(text="android"),)),
    '"(a)" main()': JobFilter(text=(Words(text="(a)"), Words(text="main()"))),
    'payload.n:">5"': JobFilter(payload=(_payload("n", PayloadValue(text=">5")),)),
    'tag:"a*","(b"': JobFilter(tag=("a*", "(b")),
    '"status=failed"': JobFilter(text=(Words(text="status=failed"),)),
    "it=1": JobFilter(text=(Words(text="it=1"),)),
    "error:o'neil": JobFilter(error=(Words(text="o'neil"),)),
}


@pytest.mark.parametrize("query", _AS_THEY_ARE)
def test_quotes_and_words_are_taken_as_they_are(query: str) -> None:
    assert parse(query) == _AS_THEY_ARE[query]
    assert parse(formatted(parse(query))) == parse(query)


def test_every_part_that_is_wrong_is_told() -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse("stauts:failed queue:ok older:x")
    assert [error.token for error in caught.value.errors] == ["stauts:", "x"]


def test_a_query_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidQuery, match="at most 2000"):
        parse("a" * 2001)


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*KEYS, *'":,.-*<> \\()!=|', "42", "x", "failed", "or", "12:00"]), max_size=12).map(
        "".join
    )
)
def test_any_text_means_a_filter_or_is_refused_at_a_place_in_it(query: str) -> None:
    try:
        wanted = parse(query)
    except InvalidQuery as refusal:
        for error in refusal.errors:
            assert query[error.position : error.position + error.length] == error.token
            assert error.msg
    else:
        assert parse(formatted(wanted)) == wanted


_plain = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
_words = st.builds(Words, text=_plain.filter(words), prefix=st.just(False)) | st.builds(
    Words, text=_plain.map(lambda text: f"{text} abc"), prefix=st.booleans()
)
_instants = st.datetimes(
    _DAY.replace(tzinfo=None),
    _DAY.replace(tzinfo=None, year=2030),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))]),
)
_ages = st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))


def _many(one: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(one, max_size=3, unique=True).map(tuple)


def _span() -> st.SearchStrategy[Span | None]:
    return (
        st.none()
        | st.tuples(_instants, _instants)
        .filter(lambda two: two[0] < two[1])
        .map(lambda two: Span(since=two[0], until=two[1]))
        | st.builds(Span, since=_instants)
    )


def _bounds() -> st.SearchStrategy[Bounds | None]:
    return (
        st.none()
        | st.lists(st.integers(-1000, 1000), min_size=2, max_size=2)
        .map(sorted)
        .map(lambda two: Bounds(least=two[0], most=two[1]))
        | st.builds(Bounds, most=st.integers(-9, 9))
    )


_payloads = st.lists(
    st.builds(
        PayloadIs,
        path=st.lists(_plain, min_size=1, max_size=3).map(tuple),
        values=st.lists(
            st.builds(PayloadValue, text=_plain | st.sampled_from(["42", "true", "null", ""]), quoted=st.booleans()),
            min_size=1,
            max_size=3,
            unique=True,
        ).map(tuple),
    ),
    max_size=3,
    unique_by=lambda one: one.path,
).map(tuple)
_filters = st.builds(
    JobFilter,
    status=_many(st.sampled_from(JobStatus)),
    queue=_many(st.from_regex(r"[a-z0-9_-]{1,8}", fullmatch=True)),
    kind=_many(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}\*?", fullmatch=True)),
    tag=_many(st.from_regex(r"[^\s\x00-\x1f,]{1,8}", fullmatch=True).filter(lambda tag: "\x7f" not in tag)),
    worker=_many(st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)),
    actor=_many(_plain),
    fingerprint=_many(st.from_regex(r"[0-9a-f]{16}", fullmatch=True)),
    id=_many(st.sampled_from(["0192", "01920a3c-7f", "01920a3c-7f00-7a00-8000-0123456789ab"])),
    error=_many(_words),
    created=_span(),
    run_at=_span(),
    older=st.none() | _ages,
    attempt=_bounds(),
    payload=_payloads,
    text=_many(_words),
    excluded=st.builds(Excluded, queue=_many(st.sampled_from(["excluded-1", "excluded-2"]))),
).filter(lambda wanted: contradiction(wanted) is None)


@given(_filters)
def test_every_filter_has_a_query_that_means_it(wanted: JobFilter) -> None:
    assert parse(formatted(wanted)) == wanted


@given(_filters, st.sampled_from(["queue:q-1", "kind:image.*", "priority:>=3", "older:1h", "zebra", "-queue:x"]))
def test_a_filter_conjoined_with_nothing_or_itself_is_itself(wanted: JobFilter, query: str) -> None:
    assert conjoined(wanted, JobFilter()) == conjoined(JobFilter(), wanted) == conjoined(wanted, wanted) == wanted
    assert parse(query) == conjoined(parse(query), JobFilter())


def test_filters_of_two_places_both_hold() -> None:
    both = conjoined(parse("status:failed,cancelled kind:image.*,mail"), parse("status:failed kind:image.thumb,mail*"))
    assert both == parse("status:failed kind:mail,image.thumb")
    assert conjoined(parse("priority:>=1"), parse("priority:<=5")) == parse("priority:1..5")
    with pytest.raises(ValueError, match="no error"):
        conjoined(parse("status:completed"), parse("error:x"))
    with pytest.raises(ValueError, match="status"):
        conjoined(parse("status:failed"), parse("status:pending"))
    with pytest.raises(ValueError, match="one place"):
        conjoined(parse("tag:a"), parse("tag:b"))


def test_words_are_runs_of_letters_and_digits_without_case() -> None:
    assert words("Connection-RESET by_peer: 10.0.0.1 (Straße)") == [
        "connection", "reset", "by", "peer", "10", "0", "0", "1", "strasse",
    ]  # fmt: skip
