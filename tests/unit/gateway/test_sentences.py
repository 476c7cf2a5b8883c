"""What is wrong with a request is said in words of ours, whatever is wrong with whatever body."""

import json
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from jobplane.gateway import sentences
from jobplane.gateway.bodies import JsonBody
from jobplane.gateway.bulk_wishes import BulkWish
from jobplane.gateway.openapi import calls_of, routes_of
from jobplane.gateway.problem_examples import FACTS, SENTENCES
from jobplane.gateway.routes import ROUTERS
from jobplane.gateway.routes.jobs import NewJob
from jobplane.gateway.routes.queues import NewLimits
from jobplane.gateway.routes.session import Login

BODIES = {
    call.model.__name__: call
    for route in routes_of(ROUTERS)
    for call in calls_of(route.dependant)
    if isinstance(call, JsonBody)
}
ODD: list[Any] = [None, 1, 1.5, -(10**9), 10**9, 10**30, "", " ", "x" * 5000, "\x07", "a b", True, [], {}, {"x": 1}]
ODD += [[1], ["x"] * 40, "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"]


async def errors_of(body: JsonBody[Any], data: bytes) -> list[dict[str, Any]]:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": data}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    try:
        await body(Request(scope, receive))
    except RequestValidationError as error:
        return list(error.errors())
    return []


async def told(model: Any, value: Any) -> list[str]:
    errors = await errors_of(JsonBody(model), value if isinstance(value, bytes) else json.dumps(value).encode())
    return [sentences.summary(error["loc"], sentences.told(error)) for error in errors]


@pytest.mark.parametrize("name", BODIES)
async def test_whatever_is_wrong_with_a_body_is_said_in_our_words(name: str) -> None:
    body = BODIES[name]
    found = [error for data in (b"", b"{", b"[]", b"\xff") for error in await errors_of(body, data)]
    for field in (*body.model.model_fields, "unheard-of"):
        for value in ODD:
            found += await errors_of(body, json.dumps({field: value}).encode())
    assert found
    for error in found:
        sentence = sentences.told(error)
        ours = error["type"] in {"value_error", "not_storable"}
        assert ours or sentence != error["msg"], error
        assert "Input" not in sentence
        assert "should" not in sentence


@pytest.mark.parametrize(
    ("model", "value", "sentence"),
    [
        (NewJob, {}, "kind: it is needed: say it."),
        (NewJob, {"kind": "x", "priorty": 1}, "priorty: there is no such field: did you mean priority?"),
        (NewJob, {"kind": "x", "priority": 1001}, "priority: write at most 1000."),
        (NewJob, {"kind": "x", "reason": " "}, "reason: say something, or leave it out."),
        (NewJob, {"kind": "x", "tags": ["a", 2]}, 'tags.1: write text in quotes, e.g. "a".'),
        (NewJob, {"kind": "x", "max_attempts": 1.5}, "max_attempts: write a whole number."),
        (NewJob, b"", 'body: write a JSON object: {"name": value, …}.'),
        (NewJob, b'{"kind":}', "body: this is no JSON: expected value at line 1 column 9."),
        (BulkWish, {"action": "retry", "ids": []}, "ids: give at least one, or leave it out."),
        (BulkWish, {"action": "retyr"}, "action: there is no such value: did you mean retry?"),
        (BulkWish, {"action": "explode"}, "action: write retry, cancel, run, restore or edit."),
        (
            BulkWish,
            {"action": "edit", "edit": {"prio": 1}},
            "edit.prio: there is no such field: did you mean priority?",
        ),
        (NewLimits, {"concurrency": 0, "rate": None}, "concurrency: write at least 1."),
        (Login, {"username": "", "password": "x"}, "username: say something."),
        (Login, {"username": "x", "password": ""}, "password: say something."),
    ],
)
async def test_a_sentence_says_where_and_what_to_write(model: Any, value: Any, sentence: str) -> None:
    assert await told(model, value) == [sentence]


def test_a_parameter_is_named_without_a_number() -> None:
    assert sentences.summary(("query", "status", 0), "write PENDING") == "status: write PENDING."
    assert sentences.summary(("body", "tags", 1), "write text") == "tags.1: write text."
    assert sentences.summary(("body",), "write text") == "body: write text."


async def test_the_example_of_the_documentation_is_what_is_told() -> None:
    [error] = FACTS["invalid_request"]["errors"]
    assert await told(NewJob, {"kind": "x", "priority": 1001}) == [SENTENCES["invalid_request"]]
    assert sentences.summary(error["loc"], error["msg"]) == SENTENCES["invalid_request"]
