"""What refusals tell besides their sentence: who was faster, who holds what, and why."""

from typing import Any

import httpx2
import pytest

from jobplane.cli import refusals
from jobplane.gateway.problem_examples import FACTS

OTHER = "01920a3c-7f00-7a00-8000-0123456789ab"


@pytest.mark.parametrize(
    ("code", "facts", "told"),
    [
        ("version_conflict", FACTS["version_conflict"], "changed by anna at 2026-11-22 12:00:00, to version 12"),
        ("version_conflict", {"changed_by": {"id": OTHER}, "changed_by_name": None}, f"changed by {OTHER}"),
        ("already_undone", FACTS["already_undone"], f"undone by {FACTS['already_undone']['undone_by']}"),
        ("unique_key_taken", {"holder": OTHER}, f"held by job {OTHER}"),
        ("still_unreadable", {"reason": "not JSON"}, "not JSON"),
    ],
)
def test_what_is_known_of_a_refusal_is_told(code: str, facts: dict[str, Any], told: str) -> None:
    answer = httpx2.Response(409, json={"detail": "It cannot be.", "code": code} | facts)
    assert refusals.sentence(answer) == f"It cannot be. ({told}) [{code}]"


@pytest.mark.parametrize("code", ["version_conflict", "already_undone", "unique_key_taken", "still_unreadable"])
def test_what_is_not_known_is_left_out(code: str) -> None:
    answer = httpx2.Response(409, json={"detail": "It cannot be.", "code": code, "version": 12})
    assert refusals.sentence(answer) == f"It cannot be. [{code}]"


def test_what_is_no_json_is_a_status() -> None:
    assert refusals.sentence(httpx2.Response(502, text="<html>")) == "status 502"
