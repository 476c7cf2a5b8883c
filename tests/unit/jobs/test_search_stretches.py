"""Stretches of ids, the times in them, and estimates: what the search thinks over without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.chassis.ids import new_id
from jobplane.jobs import search_times
from jobplane.jobs.search_estimates import rounded
from jobplane.jobs.search_stretches import Stretch

_YEAR_MS = 365 * 24 * 3600 * 1000
_TIMES = st.integers(1_700_000_000_000, 1_800_000_000_000)


def _first_id(ms: int) -> int:
    return ms << 80


@given(_TIMES, st.integers(1, _YEAR_MS), st.floats(0, 1))
def test_an_id_is_among_those_of_every_stretch_it_lies_in(begin: int, length: int, place: float) -> None:
    above, below = _first_id(begin) - 1, _first_id(begin + length)
    inside = f"{_first_id(begin + int((length - 1) * place)):032x}"
    job_id = f"{inside[:8]}-{inside[8:12]}-{inside[12:16]}-{inside[16:20]}-{inside[20:]}"
    asked = search_times.among(above, below)
    assert asked is None or {f"'{term}'" for term in search_times.of_id(job_id)} & set(asked.split(" | "))


@given(_TIMES, st.integers(1, _YEAR_MS))
def test_few_others_are_among_them(begin: int, length: int) -> None:
    """At most as many again, but for periods of seconds; and a question names few periods."""
    asked = search_times.among(_first_id(begin) - 1, _first_id(begin + length))
    if asked is not None:
        terms = asked.split(" | ")
        shift = (12, 17, 22, 27)[int(terms[0][2])]
        assert len(terms) <= 64
        assert len(terms) << shift <= max(2 * length + (2 << shift), 2 << 12)


def test_an_id_has_few_terms() -> None:
    assert len(list(search_times.of_id(new_id()))) == 4


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 120), st.booleans())
def test_a_stretch_falls_into_its_beginning_and_the_rest(above: int, size: int, length: int, up: bool) -> None:
    whole = Stretch(above, above + size + 1, up)

    def ids(part: Stretch) -> list[int]:
        inside = list(range(part.above + 1, part.below))
        return inside if up else inside[::-1]

    first = whole.first(length)
    assert ids(first) + ids(whole.without(first)) == ids(whole)
    assert first.length == min(length, whole.length) == len(ids(first))


@pytest.mark.parametrize(("number", "told"), [(11, 11), (99, 99), (114, 110), (437_211, 440_000), (996, 1000)])
def test_an_estimate_has_two_digits(number: int, told: int) -> None:
    assert rounded(number) == told
