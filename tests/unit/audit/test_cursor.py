"""A cursor is opaque, and only one that was handed out is taken back."""

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.audit.search import cursor_after, position_in
from jobplane.contracts.errors import Refused


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_a_cursor_leads_back_to_its_position(position: int) -> None:
    assert position_in(cursor_after(position)) == position


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "?", "1.7", "é", "MS43=", base64.b64encode(b"2.7").decode(), base64.b64encode(b"1.-7").decode()]
    + [
        base64.urlsafe_b64encode(text).rstrip(b"=").decode()
        for text in (b"1.0", b"1.07", b"1. 7", b"1.9223372036854775808")
    ],
)
def test_any_other_cursor_is_refused_with_what_to_do(cursor: str) -> None:
    with pytest.raises(Refused, match="next_cursor") as refusal:
        position_in(cursor)
    assert refusal.value.code == "invalid_cursor"


@given(st.text(max_size=30))
def test_no_text_breaks_it(cursor: str) -> None:
    with suppress(Refused):
        assert cursor_after(position_in(cursor)) == cursor
