"""Bulk operations over HTTP: what is asked becomes the right command, what is wrong is refused before."""

from collections.abc import Mapping
from typing import Any, Final

import httpx2
import pytest
from pydantic_core import from_json

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role
from jobplane.contracts.commands import AnyCommand
from jobplane.contracts.envelope import CommandMessage, CommandOutcome
from jobplane.contracts.operations import (
    AnyOperationCommand,
    BulkAction,
    BulkEdit,
    PauseOperation,
    PlanOperation,
    ResumeOperation,
    RunOperation,
    StopOperation,
    UndoOperation,
)
from jobplane.contracts.search_grammar import parse
from jobplane.gateway.problems import status_of
from tests.integration.gateway.conftest import Running, code_of
from tests.integration.gateway.scripted_jobs import refused

BULK: Final = "/api/admin/jobs/bulk"
OPERATIONS: Final = "/api/admin/operations"
ID, JOB = new_id(), new_id()
ONE: Final = f"{OPERATIONS}/{ID}"
THESE: Final = {"action": "retry", "ids": [JOB]}
QUERY: Final = "status:failed queue:mail"
RETRY: Final = BulkAction.RETRY


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    shows(gateway, "running")
    return await gateway.bearer(Role.ADMIN)


def shows(gateway: Running, status: str) -> None:
    """From now on every operation is like this."""
    gateway.jobs.answers["jobs.query.operation"] = {"id": ID, "status": status}


def said(command: AnyCommand) -> dict[str, Any]:
    """What a command says, but for the id of an operation that is new."""
    new = {"operation_id"} if isinstance(command, PlanOperation | UndoOperation) else set[str]()
    return {"type": command.type} | command.model_dump(exclude=new)


async def test_what_is_wished_for_becomes_an_operation(gateway: Running, admin: httpx2.AsyncClient) -> None:
    meant = parse(QUERY).model_dump(mode="json", exclude_defaults=True)
    change: dict[str, Any] = {"queue": "slow", "priority": -1}
    wishes: list[tuple[Mapping[str, Any], dict[str, Any]]] = [
        (THESE, {"action": RETRY, "ids": [JOB]}),
        (THESE | {"dry_run": True}, {"action": RETRY, "ids": [JOB], "then_run": False}),
        ({"action": "cancel", "filter": QUERY, "rate": 50}, {"action": "cancel", "filter": meant, "rate": 50}),
        ({"action": "run", "all": True}, {"action": "run", "filter": {}}),
        (
            {"action": "edit", "filter": QUERY, "edit": change},
            {"action": "edit", "filter": meant, "edit": BulkEdit(**change)},
        ),
    ]
    for body, meaning in wishes:
        answer = await admin.post(BULK, json={"reason": "it burnt", **body}, headers={"Prefer": "wait=0"})
        message = gateway.jobs.commands[-1]
        wanted = PlanOperation.model_validate({"operation_id": ID, "then_run": True} | meaning)
        assert (said(message.command), message.reason) == (said(wanted), "it burnt")
        assert answer.status_code == 202
    assert len({message.command.target for message in gateway.jobs.commands}) == len(wishes)


async def test_a_wish_that_means_nothing_is_refused_before(gateway: Running, admin: httpx2.AsyncClient) -> None:
    wishes: list[tuple[dict[str, Any], str]] = [
        ({"action": "retry"}, "selector_required"),
        ({"action": "retry", "filter": " "}, "selector_required"),
        ({"action": "retry", "ids": [JOB], "filter": QUERY}, "selector_ambiguous"),
        ({"action": "retry", "ids": [JOB], "all": True}, "selector_ambiguous"),
        ({"action": "retry", "filter": "status:failed colour:red"}, "invalid_query"),
        ({"action": "edit", "ids": [JOB], "edit": {"payload": {}}}, "payload_not_in_bulk"),
        ({"action": "explode", "ids": [JOB]}, "invalid_request"),
        ({"ids": [JOB]}, "invalid_request"),
        ({"action": "retry", "ids": []}, "invalid_request"),
        ({"action": "retry", "ids": ["all"]}, "invalid_request"),
        ({"action": "retry", "ids": [JOB], "rate": 0}, "invalid_request"),
        ({"action": "retry", "ids": [JOB], "when": "now"}, "invalid_request"),
        ({"action": "edit", "ids": [JOB], "edit": {"colour": "red"}}, "invalid_request"),
    ]
    for body, code in wishes:
        answer = await admin.post(BULK, json=body)
        assert (answer.status_code, code_of(answer)) == (422, code), body
        if code == "invalid_query":
            [error] = answer.json()["errors"]
            assert (error["token"], error["position"]) == ("colour:", 14)
    assert gateway.jobs.commands == []


async def test_each_verb_becomes_its_command(gateway: Running, admin: httpx2.AsyncClient) -> None:
    wishes: dict[tuple[str, int], AnyOperationCommand] = {
        ("run", 200): RunOperation(operation_id=ID, max_drift=10),
        ("pause", 200): PauseOperation(operation_id=ID),
        ("resume", 200): ResumeOperation(operation_id=ID),
        ("stop", 200): StopOperation(operation_id=ID),
        ("undo", 202): UndoOperation(operation_id=ID, undo_of=ID, then_run=True),
    }
    for (verb, status), command in wishes.items():
        body = {"reason": "wrong queue"} | ({"max_drift": 10} if verb == "run" else {})
        answer = await admin.post(f"{ONE}/{verb}", json=body)
        assert (answer.status_code, answer.json()["status"]) == (status, "running"), verb
        message = gateway.jobs.commands[-1]
        assert (said(message.command), message.reason) == (said(command), "wrong queue")
    assert gateway.jobs.commands[-1].command.target != ID
    assert (await admin.post(f"{ONE}/run", json={"max_drift": -1})).status_code == 422
    assert (await admin.post(f"{ONE}/explode", json={})).status_code == 404
    assert len(gateway.jobs.commands) == len(wishes)


async def test_a_plan_is_shown_once_it_is_made(gateway: Running, admin: httpx2.AsyncClient) -> None:
    shows(gateway, "planned")
    planned = await admin.post(BULK, json=THESE | {"dry_run": True})
    made = gateway.jobs.commands[-1].command.target
    assert (planned.status_code, planned.headers["location"]) == (200, f"{OPERATIONS}/{made}")
    assert planned.json()["status"] == "planned"


async def test_whoever_asks_to_wait_sees_the_end(gateway: Running, admin: httpx2.AsyncClient) -> None:
    shows(gateway, "done")
    done = await admin.post(BULK, json=THESE, headers={"Prefer": "wait=30"})
    assert (done.status_code, done.json()["status"]) == (200, "done")
    gateway.jobs.decide = lambda _message: None
    for path in (BULK, f"{ONE}/stop", f"{ONE}/undo"):
        body = THESE if path == BULK else {}
        undecided = await admin.post(path, json=body, headers={"Prefer": "respond-async"})
        assert (undecided.status_code, undecided.json()["status_url"]) == (202, undecided.headers["location"])


async def test_a_refusal_keeps_its_code_and_its_facts(gateway: Running, admin: httpx2.AsyncClient) -> None:
    refusals = {
        "run": ("operation_not_planned", "not_your_plan", "plan_expired", "plan_drifted", "reason_required"),
        "pause": ("operation_not_running",),
        "resume": ("operation_not_paused",),
        "stop": ("operation_ended", "operation_not_found"),
        "undo": ("operation_not_ended", "not_undoable", "nothing_to_undo"),
    }
    for verb, codes in refusals.items():
        for code in codes:

            def decide(message: CommandMessage, code: str = code) -> CommandOutcome:
                return refused(message, code, status="stopped", added=12)

            gateway.jobs.decide = decide
            answer = await admin.post(f"{ONE}/{verb}", json={})
            assert (answer.status_code, code_of(answer)) == (status_of(code), code)
            assert (answer.json()["job_status"], answer.json()["added"]) == ("stopped", 12)


async def test_a_repeated_request_is_the_same_command(gateway: Running, admin: httpx2.AsyncClient) -> None:
    once = {"Idempotency-Key": "once"}
    for body in (THESE, THESE, THESE | {"rate": 5}):
        await admin.post(BULK, json=body, headers=once)
    first, again, other = gateway.jobs.commands
    assert first.command_id == again.command_id == other.command_id
    assert first.body_digest == again.body_digest != other.body_digest
    await admin.post(f"{ONE}/stop", headers=once)
    await (await gateway.bearer(Role.ADMIN)).post(BULK, json=THESE, headers=once)
    assert len({message.command_id for message in gateway.jobs.commands}) == 3


async def test_lists_hand_on_what_is_asked(gateway: Running, admin: httpx2.AsyncClient) -> None:
    page: dict[str, Any] = {"items": [], "next_cursor": None}
    gateway.jobs.answers |= {"jobs.query.operations": page, "jobs.query.operation_items": page}
    assert (await admin.get(OPERATIONS, params={"status": ["done", "failed"], "limit": 2})).json() == page
    items = {"outcome": "skipped", "code": "job_not_failed", "cursor": "MC4y"}
    assert (await admin.get(f"{ONE}/items", params=items)).json() == page
    [(_, listed), (_, looked)] = gateway.jobs.asked[-2:]
    assert from_json(listed) == {"limit": 2, "status": ["done", "failed"]}
    assert from_json(looked) == {"operation_id": ID} | items
    for wrong in ("status=over", "limit=0", "cursor="):
        assert code_of(await admin.get(f"{OPERATIONS}?{wrong}")) == "invalid_request"
    for wrong in ("outcome=lost", "limit=501", "code=Not-A-Code"):
        assert code_of(await admin.get(f"{ONE}/items?{wrong}")) == "invalid_request"
    assert code_of(await admin.get(f"{OPERATIONS}/newest")) == "invalid_request"


async def test_neither_viewers_nor_other_sites_touch_many_jobs(gateway: Running) -> None:
    shows(gateway, "running")
    viewer, browser = await gateway.bearer(Role.VIEWER), await gateway.browser(Role.ADMIN)
    requests = [(BULK, THESE), *((f"{ONE}/{verb}", {}) for verb in ("run", "pause", "resume", "stop", "undo"))]
    for path, body in requests:
        assert code_of(await viewer.post(path, json=body)) == "forbidden"
        assert code_of(await browser.post(path, json=body, headers={"Sec-Fetch-Site": "cross-site"})) == "cross_site"
        assert code_of(await browser.post(path, json=body, headers={"Origin": "https://evil.example"})) == "cross_site"
    assert gateway.jobs.commands == []
    assert (await viewer.get(ONE)).status_code == 200
    same_origin = await browser.post(f"{ONE}/stop", json={}, headers={"Sec-Fetch-Site": "same-origin"})
    assert same_origin.status_code == 200
