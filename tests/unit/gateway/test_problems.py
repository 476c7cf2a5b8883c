"""Refusals as HTTP: every code has a status, every problem the same shape."""

import json

import pytest

from jobplane.contracts.errors import Refused, Unavailable
from jobplane.gateway import problems
from jobplane.jobs import decider

CLIENT_ERRORS = range(400, 500)


@pytest.mark.parametrize("code", sorted(problems.STATUS))
def test_every_code_makes_a_complete_problem(code: str) -> None:
    response = problems.refused(Refused(code, "Do something else."))
    told = json.loads(bytes(response.body))
    assert response.status_code == problems.STATUS[code] == told["status"]
    assert told["type"] == f"urn:jobplane:problem:{code}"
    assert (told["code"], told["detail"]) == (code, "Do something else.")
    assert told["title"]
    assert response.media_type == "application/problem+json"


@pytest.mark.parametrize("code", sorted(decider.REFUSALS))
def test_every_refusal_of_the_jobs_service_is_known_here(code: str) -> None:
    assert code in problems.STATUS
    assert problems.status_of(code) in CLIENT_ERRORS


def test_a_code_nobody_told_us_of_is_a_conflict() -> None:
    assert problems.status_of("a_code_of_tomorrow") == 409


def test_facts_never_hide_the_members_of_a_problem() -> None:
    facts = {"status": "FAILED", "code": "x", "detail": "y", "holder": "z", "trace_id": "0"}
    told = json.loads(bytes(problems.refused(Refused("job_finished", "No.", facts)).body))
    assert (told["status"], told["code"], told["detail"]) == (409, "job_finished", "No.")
    assert (told["job_status"], told["job_code"], told["holder"]) == ("FAILED", "x", "z")


def test_unavailable_says_when_to_come_back() -> None:
    response = problems.unavailable(Unavailable("Later.", code="bus_unavailable", retry_after_s=7))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"
    assert json.loads(bytes(response.body))["code"] == "unavailable"


def test_a_login_is_asked_for_with_its_scheme() -> None:
    assert "Bearer" in problems.refused(Refused("unauthenticated", "Log in.")).headers["www-authenticate"]
