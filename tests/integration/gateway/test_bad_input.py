"""Malformed, oversized, unknown and odd input: always a problem, never a fault."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from jobplane.chassis.ids import new_id
from jobplane.contracts.actors import Role
from jobplane.contracts.jobs import MAX_PAYLOAD_BYTES
from jobplane.contracts.queries import JobSort, ListJobs
from jobplane.contracts.search_grammar import parse
from jobplane.gateway.bodies import MOST_BYTES
from tests.integration.gateway.conftest import Running, code_of

JOBS = "/api/admin/jobs"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def admin(gateway: Running) -> httpx2.AsyncClient:
    return await gateway.bearer()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"kind": "x", "payload": {"a": NaN}}',
        b'{"kind": "x", "payload": {"a": 1e999}}',
        b'{"kind": "x", "payload": {"a": "\\u0000"}}',
        b'{"kind": "x", "payload": {"a\\u0000": 1}}',
        b'{"kind": "x", "payload": {"a": "\\ud800"}}',
        b'{"kind": "x", "payload": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
        b'{"kind": "x", "payload": {"a": 1' + b"0" * 5000 + b"}}",
        b'{"kind": "x", "payload": {}, "colour": "red"}',
        b'{"kind": "x", "payload": []}',
        b'{"kind": "a b", "payload": {}}',
        b'{"kind": "x", "payload": {}, "queue": "No Such"}',
        b'{"kind": "x", "payload": {}, "priority": 1001}',
        b'{"kind": "x", "payload": {}, "priority": false}',
        b'{"kind": "x", "payload": {}, "priority": "1"}',
        b'{"kind": "x", "payload": {}, "run_at": "2026-01-01T00:00:00"}',
        b'{"kind": "x", "payload": {}, "run_at": 1700000000}',
        b'{"kind": "x", "payload": {}, "timeout_s": 0}',
        b'{"kind": "x", "payload": {}, "max_attempts": 0}',
        b'{"kind": "x", "payload": {}, "tags": ["a b"]}',
        b'{"kind": "x", "payload": {}, "reason": "\\u0007"}',
    ],
)
async def test_a_job_that_cannot_be_is_refused(gateway: Running, admin: httpx2.AsyncClient, content: bytes) -> None:
    answer = await admin.post(JOBS, content=content, headers=JSON)
    assert answer.status_code == 422
    assert code_of(answer) == "invalid_request"
    assert answer.json()["errors"]
    assert gateway.jobs.commands == []


async def test_what_was_sent_is_not_repeated(admin: httpx2.AsyncClient) -> None:
    answer = await admin.post(JOBS, json={"kind": "x", "payload": "my-secret", "password": "my-secret"})
    assert answer.status_code == 422
    assert "my-secret" not in answer.text
    assert {tuple(error["loc"]) for error in answer.json()["errors"]} == {("body", "payload"), ("body", "password")}


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
async def test_only_json_is_read(admin: httpx2.AsyncClient, media_type: str) -> None:
    answer = await admin.post(JOBS, content=b'{"kind": "x"}', headers={"Content-Type": media_type})
    assert answer.status_code == 415
    assert code_of(answer) == "unsupported_media_type"


async def test_a_body_may_be_declared_as_json_of_some_sort(admin: httpx2.AsyncClient) -> None:
    headers = {"Content-Type": "application/vnd.job+json; charset=utf-8"}
    assert (await admin.post(JOBS, content=b'{"kind": "x"}', headers=headers)).status_code == 201


async def test_too_much_is_refused_before_it_is_read(gateway: Running, admin: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 64 * 1024

    for content in (b" " * (MOST_BYTES + 1), endless()):
        answer = await admin.post(JOBS, content=content, headers=JSON)
        assert answer.status_code == 413
        assert code_of(answer) == "payload_too_large"
    stranger = await gateway.client().post(JOBS, content=b" " * (MOST_BYTES + 1), headers=JSON)
    assert stranger.status_code == 413


async def test_a_payload_has_a_limit_of_its_own(gateway: Running, admin: httpx2.AsyncClient) -> None:
    text = "x" * (MAX_PAYLOAD_BYTES - len('{"a":""}'))
    assert (await admin.post(JOBS, json={"kind": "x", "payload": {"a": text}})).status_code == 201
    answer = await admin.post(JOBS, json={"kind": "x", "payload": {"a": text + "x"}})
    assert answer.status_code == 413
    assert answer.json()["limit_bytes"] == MAX_PAYLOAD_BYTES
    assert len(gateway.jobs.commands) == 1


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 201},
        {"limit": "many"},
        {"status": "SLEEPING"},
        {"queue": "A B"},
        {"kind": " "},
        {"cursor": ""},
        {"cursor": "x" * 2000},
    ],
)
async def test_filters_that_make_no_sense_are_refused(admin: httpx2.AsyncClient, query: dict[str, Any]) -> None:
    answer = await admin.get(JOBS, params=query)
    assert answer.status_code == 422
    assert code_of(answer) == "invalid_request"


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": ""},
        {"Idempotency-Key": "x" * 256},
        {"Idempotency-Key": "a b"},
        {"If-Match": "3"},
        {"If-Match": 'W/"3"'},
    ],
)
async def test_headers_that_make_no_sense_are_refused(admin: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    answer = await admin.post(f"{JOBS}/{new_id()}/retry", headers=headers)
    assert answer.status_code == 422
    assert code_of(answer) == "invalid_request"


async def test_errors_are_sentences_for_people(admin: httpx2.AsyncClient) -> None:
    """And no regular expressions."""
    told = {
        "a queue has 1 to 64 lower-case letters": await admin.get(JOBS, params={"queue": "No Such"}),
        "a kind has": await admin.post(JOBS, json={"kind": "a b"}),
        "a tag has no space": await admin.get(JOBS, params={"tag": "a\0b"}),
        "a fingerprint has 16": await admin.get(JOBS, params={"fingerprint": "\0"}),
        "in double quotes": await admin.post(f"{JOBS}/{new_id()}/retry", headers={"If-Match": "3"}),
        "without a space": await admin.post(f"{JOBS}/{new_id()}/retry", headers={"Idempotency-Key": "a b"}),
        "characters that are not allowed": await admin.post(JOBS, json={"kind": "x", "reason": "\7"}),
        "an id is written like": await admin.get(f"{JOBS}/4711"),
        "a control character": await admin.get(JOBS, params={"q": "a \0"}),
        "more than ten years": await admin.get(JOBS, params={"q": "older:999999999999d"}),
    }
    for sentence, answer in told.items():
        [error] = answer.json()["errors"]
        assert sentence in error["msg"]
        assert error["msg"] in answer.json()["detail"]
        assert "^" not in answer.text


@pytest.mark.parametrize("path", ["/", "/api", "/api/admin/nothing", f"{JOBS}/{new_id()}/explode", "/api/admin/jobs/"])
async def test_an_address_that_is_not_there_is_a_problem_too(admin: httpx2.AsyncClient, path: str) -> None:
    answer = await admin.get(path, headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert code_of(answer) == "not_found"


async def test_a_method_that_is_not_there_says_which_are(admin: httpx2.AsyncClient) -> None:
    answer = await admin.put(JOBS)
    assert answer.status_code == 405
    assert code_of(answer) == "method_not_allowed"
    assert "allow" in answer.headers


@pytest.mark.parametrize("job_id", ["x", "1", "%00", "..", "0" * 300, "\u2603"])
async def test_an_id_that_is_none_is_refused(admin: httpx2.AsyncClient, job_id: str) -> None:
    answer = await admin.post(f"{JOBS}/{job_id}/retry")
    assert answer.status_code in {404, 405, 422}
    code_of(answer)


async def test_every_answer_is_safe_to_show(gateway: Running, admin: httpx2.AsyncClient) -> None:
    for client, path in ((admin, JOBS), (gateway.client(), JOBS), (gateway.client(), "/nothing")):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "'unsafe-inline'" not in headers["content-security-policy"]
        assert headers["x-trace-id"]
        assert "server" not in headers


@pytest.mark.parametrize("path", [JOBS, "/api/admin/stats/jobs"])
async def test_a_query_that_means_nothing_is_pointed_at(gateway: Running, admin: httpx2.AsyncClient, path: str) -> None:
    answer = await admin.get(path, params={"q": "queue:mail stauts:failed older:soon"})
    assert (answer.status_code, code_of(answer)) == (422, "invalid_query")
    first, second = answer.json()["errors"]
    assert first["loc"] == ["query", "q"]
    assert (first["position"], first["length"], first["token"]) == (11, 7, "stauts:")
    assert 'did you mean "status"?' in first["msg"]
    assert second["token"] == "soon"
    assert not [subject for subject, _ in gateway.jobs.asked if subject.endswith((".list", ".count"))]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"q": "older:2h newer:1h"}, "invalid_query"),
        ({"q": "status:failed", "status": "PENDING"}, "invalid_query"),
        ({"q": "tag:a", "tag": "b"}, "invalid_query"),
        ({"q": "x" * 2001}, "invalid_request"),
        ({"sort": "name"}, "invalid_request"),
        ({"fingerprint": "zz"}, "invalid_request"),
        ({"worker": "a b"}, "invalid_request"),
    ],
)
async def test_a_search_that_cannot_be_meant_is_refused(
    admin: httpx2.AsyncClient, params: dict[str, str], code: str
) -> None:
    answer = await admin.get(JOBS, params=params)
    assert (answer.status_code, code_of(answer)) == (422, code)


async def test_the_query_and_the_other_parameters_are_asked_together(
    gateway: Running, admin: httpx2.AsyncClient
) -> None:
    params = {"q": "kind:image.* older:2h", "status": "FAILED", "worker": "w-1", "sort": "created"}
    gateway.jobs.answers["jobs.query.list"] = {"items": []}
    await admin.get(JOBS, params=params)
    [asked] = [body for subject, body in gateway.jobs.asked if subject == "jobs.query.list"]
    query = ListJobs.model_validate_json(asked)
    assert query.filter == parse("kind:image.* older:2h status:failed worker:w-1")
    assert query.sort is JobSort.OLDEST


@pytest.mark.parametrize(
    ("asked", "where", "told"),
    [
        ("jobs?state=FAILED", "state", "did you mean status?"),
        ("jobs?q=mail&q=disk", "q", "say it once"),
        ("operations?stauts=done", "stauts", "did you mean status?"),
        ("audit?zzz=1", "zzz", "there are action, actor"),
        ("queues?queue=mail", "queue", "nothing can be asked here"),
    ],
)
async def test_a_parameter_that_does_not_exist_is_refused_and_never_means_everything(
    gateway: Running, asked: str, where: str, told: str
) -> None:
    answer = await (await gateway.bearer(Role.VIEWER)).get(f"/api/admin/{asked}")
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    [error] = answer.json()["errors"]
    assert error["loc"] == ["query", where]
    assert told in error["msg"]


async def test_a_parameter_that_takes_several_values_may_stand_several_times(gateway: Running) -> None:
    gateway.jobs.answers["jobs.query.list"] = {"items": [], "next_cursor": None}
    answer = await (await gateway.bearer(Role.VIEWER)).get("/api/admin/jobs?status=FAILED&status=PENDING")
    assert answer.status_code == 200


async def test_a_past_that_is_no_time_is_told_without_inner_names(admin: httpx2.AsyncClient) -> None:
    answer = await admin.get(f"{JOBS}/{new_id()}", params={"as_of": "yesterday"})
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    msg = "write an instant as 2026-11-22T12:00:00Z, or a position of the journal as a number"
    assert answer.json()["errors"] == [{"loc": ["query", "as_of"], "msg": msg}]
