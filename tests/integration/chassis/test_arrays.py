"""Columns as array literals come back from the database as they were."""

from datetime import UTC, datetime
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobplane.chassis import arrays
from tests.support.servers import Database

_QUICKLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def back(database: Database, literal: str, kind: str) -> Any:
    with psycopg.connect(database.admin_url) as conn:
        row = conn.execute(f"SELECT %s::{kind}[]", (literal,)).fetchone()
    assert row is not None
    return row[0]


@_QUICKLY
@given(st.lists(st.none() | _TEXT | st.sampled_from(["", "NULL", "null", "{}", '"', "\\", '\\"', ",", " a ", "é\n"])))
def test_any_text_comes_back(blank_database: Database, values: list[str | None]) -> None:
    assert back(blank_database, arrays.texts(values), "text") == values


@_QUICKLY
@given(st.lists(st.binary()))
def test_bytes_come_back(blank_database: Database, values: list[bytes]) -> None:
    assert back(blank_database, arrays.bytes_(values), "bytea") == values


def test_plain_values_come_back(blank_database: Database) -> None:
    now = datetime(2026, 11, 22, 10, 0, 0, 123456, UTC)
    assert back(blank_database, arrays.plain([1, None, -3]), "bigint") == [1, None, -3]
    assert back(blank_database, arrays.plain([True, False, None]), "boolean") == [True, False, None]
    assert back(blank_database, arrays.plain([now, None]), "timestamptz") == [now, None]


def test_an_array_may_hold_arrays_as_text(blank_database: Database) -> None:
    inner = [arrays.texts(["a,b", '"c"']), arrays.texts([])]
    assert back(blank_database, arrays.texts(inner), "text") == inner
