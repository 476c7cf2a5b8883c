"""Outcomes: whatever a handler answers or raises becomes a report that can be read."""

import dataclasses
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from jobplane.contracts.ids import JobId
from jobplane.contracts.workers import DoneItem, LeasedJob
from jobplane.worker import outcomes
from jobplane.worker.errors import Fatal, InvalidResult, ResultTooLarge

JOB = LeasedJob(
    job=JobId("019a0000-0000-7000-8000-000000000001"),
    kind="k",
    queue="default",
    run=1,
    attempt=1,
    max_attempts=5,
    token="ab" * 16,
    lease_ends_at=datetime.now(UTC),
    traceparent="",
)


class Model(BaseModel):
    at: datetime


@dataclasses.dataclass
class Data:
    id: UUID


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, None),
        ({"a": [1, 2.5, "x", None, True]}, {"a": [1, 2.5, "x", None, True]}),
        ((1, 2), [1, 2]),
        (Model(at=datetime(2026, 1, 2, tzinfo=UTC)), {"at": "2026-01-02T00:00:00Z"}),
        (Data(UUID(int=1)), {"id": str(UUID(int=1))}),
        (float("nan"), None),
    ],
)
def test_an_answer_becomes_json(value: object, told: object) -> None:
    item = DoneItem.model_validate_json(outcomes.completed(JOB, outcomes.encode_result(value)))
    assert (item.outcome, item.result) == ("completed", told)
    assert (item.job, item.token) == (JOB.job, JOB.token)


def _endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [object(), lambda: None, "\ud800", {"a": object()}, _endless()])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(InvalidResult):
        outcomes.encode_result(value)


def test_the_limit_is_256_kib_of_json() -> None:
    assert len(outcomes.encode_result("x" * (256 * 1024 - 2))) == 256 * 1024
    with pytest.raises(ResultTooLarge, match="262,145 bytes"):
        outcomes.encode_result("x" * (256 * 1024 - 1))


def _raise(error: Exception) -> None:
    raise error


def _raised(error: Exception) -> Exception:
    with pytest.raises(type(error)) as caught:
        _raise(error)
    return caught.value


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("even this fails")


def test_a_failure_tells_name_message_and_stack() -> None:
    item = DoneItem.model_validate_json(outcomes.failed(JOB, _raised(KeyError("page"))))
    assert item.error is not None
    assert (item.outcome, item.error.type, item.error.message, item.error.retryable) == (
        "failed",
        "KeyError",
        "'page'",
        True,
    )
    assert "in _raise" in (item.error.stack or "")


def test_only_a_fatal_error_is_not_worth_another_attempt() -> None:
    assert outcomes.describe(Fatal("no")).retryable is False
    assert outcomes.describe(RuntimeError("no")).retryable is True


def test_an_exception_whose_text_fails_is_told_anyway() -> None:
    told = outcomes.describe(_raised(Mute()))
    assert (told.type, told.message) == ("Mute", "(the exception has no readable text)")


@given(st.text(st.characters(), max_size=6000), st.integers(1, 400))
def test_any_error_fits_and_can_be_read(text: str, deep: int) -> None:
    def fail(left: int) -> None:
        if left:
            fail(left - 1)
        raise ArithmeticError(text + "\x00\ud800")

    with pytest.raises(ArithmeticError) as caught:
        fail(deep)
    report = outcomes.failed(JOB, caught.value)
    item = DoneItem.model_validate_json(report)
    assert item.error is not None
    assert len(item.error.message) <= 4096
    assert len(item.error.stack or "") <= 32 * 1024
    assert "\x00" not in item.error.message + (item.error.stack or "")
    assert len(report) < 256 * 1024


def test_what_is_given_back_or_cancelled_tells_nothing_else() -> None:
    for report, outcome in ((outcomes.released(JOB), "released"), (outcomes.cancelled(JOB), "cancelled")):
        item = DoneItem.model_validate_json(report)
        assert (item.outcome, item.result, item.error) == (outcome, None, None)
