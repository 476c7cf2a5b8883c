"""When a request asks for a job's past: an instant, or a position of the journal."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobplane.gateway import sentences
from jobplane.gateway.routes.history import AsOf

AS_OF: TypeAdapter[Any] = TypeAdapter(AsOf)


def test_an_instant_or_a_position_is_read() -> None:
    assert AS_OF.validate_python("4711") == 4711
    assert AS_OF.validate_python("2026-11-22T12:00:00Z") == datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert AS_OF.validate_python(None) is None


@pytest.mark.parametrize("written", ["yesterday", "0", "-1", "2026-11-22", "2026-11-22T12:00:00", "9" * 30, ""])
def test_anything_else_is_one_error_that_says_what_to_write(written: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AS_OF.validate_python(written)
    [error] = refused.value.errors()
    assert error["loc"] == ()
    told = sentences.told(error)
    assert told == "write an instant as 2026-11-22T12:00:00Z, or a position of the journal as a number"
