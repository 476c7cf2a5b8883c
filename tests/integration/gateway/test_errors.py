"""Error groups over HTTP: what is asked becomes the right question, what is wrong is refused before."""

import json
from typing import Any

import pytest

from jobplane.contracts.actors import Role
from jobplane.gateway.examples import EXAMPLES
from tests.integration.gateway.conftest import Running, code_of

ERRORS = "/api/admin/errors"
GROUP = "9f86d081884c7d65"


async def test_a_viewer_lists_groups_by_any_filter(gateway: Running) -> None:
    gateway.jobs.answers["jobs.query.errors"] = EXAMPLES["ErrorGroupPage"]
    asked = {"sort": "count", "kind": ["a.b", "a.c"], "queue": "mail", "type": "Boom", "since": "2026-11-22T12:00:00Z"}
    answer = await (await gateway.bearer(Role.VIEWER)).get(ERRORS, params=asked)
    assert (answer.status_code, answer.json()) == (200, EXAMPLES["ErrorGroupPage"])
    subject, question = gateway.jobs.asked[-1]
    assert subject == "jobs.query.errors"
    lists = {"kind": ["a.b", "a.c"], "queue": ["mail"], "type": ["Boom"]}
    assert json.loads(question) == {"sort": "count", "since": "2026-11-22T12:00:00Z", **lists}


async def test_a_viewer_looks_at_a_group(gateway: Running) -> None:
    gateway.jobs.answers["jobs.query.error"] = EXAMPLES["ErrorGroupView"]
    answer = await (await gateway.bearer(Role.VIEWER)).get(f"{ERRORS}/{GROUP}")
    assert (answer.status_code, answer.json()) == (200, EXAMPLES["ErrorGroupView"])
    assert json.loads(gateway.jobs.asked[-1][1]) == {"fingerprint": GROUP}


async def test_a_group_that_nobody_knows_is_not_found(gateway: Running) -> None:
    problem = {"code": "error_group_not_found", "detail": "Because.", "facts": {"fingerprint": GROUP}}
    gateway.jobs.answers["jobs.query.error"] = {"problem": problem}
    answer = await (await gateway.bearer(Role.VIEWER)).get(f"{ERRORS}/{GROUP}")
    assert (answer.status_code, code_of(answer)) == (404, "error_group_not_found")
    assert answer.json()["fingerprint"] == GROUP


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", {"sort": "colour"}),
        ("", {"limit": 101}),
        ("", {"kind": "No Kind"}),
        ("", {"since": "yesterday"}),
        ("", {"type": ""}),
        ("/9F86", {}),
        ("/nothing-like-a-fingerprint", {}),
    ],
)
async def test_what_makes_no_sense_is_refused(gateway: Running, path: str, asked: dict[str, Any]) -> None:
    answer = await (await gateway.bearer(Role.VIEWER)).get(f"{ERRORS}{path}", params=asked)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert not [subject for subject, _ in gateway.jobs.asked if subject.startswith("jobs.query.error")]
