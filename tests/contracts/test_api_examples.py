"""The API's documentation, walked: everything that is sent or answered is shown, and what is shown is as it is said."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from jsonschema_rs import Draft202012Validator

from jobplane.gateway import openapi, problems
from jobplane.gateway.routes import ROUTERS

DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi.document(ROUTERS, "1.2.3")))
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
FILES = "*/*"
NOT_OF_ONE_ENDPOINT = {
    "not_found",  # no endpoint is there
    "method_not_allowed",  # nor here
    "internal_error",  # a bug
    "invalid_command",  # sent by programs of another version, over the bus
    "job_exists",  # ids of jobs and operations are chosen by the gateway, and each only once
    "operation_exists",
    "job_not_due",  # asked for by workers only
}
"""Codes that no endpoint names."""


class Shown(NamedTuple):
    """One example, and what it must be like."""

    where: str
    schema: dict[str, Any]
    value: Any


def examples_of(content: dict[str, Any]) -> list[Any]:
    told: dict[str, dict[str, Any]] = content.get("examples", {})
    return [content["example"]] if "example" in content else [example["value"] for example in told.values()]


def contents_of(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What may be sent and answered, but for files."""
    sent = {"request": operation["requestBody"]} if "requestBody" in operation else {}
    for name, part in (sent | operation["responses"]).items():
        for media_type, content in part.get("content", {}).items():
            if media_type != FILES:
                yield f"{name} {media_type}", content


def shown_by(operation: dict[str, Any]) -> Iterator[Shown]:
    for parameter in operation.get("parameters", ()):
        for value in parameter["schema"].get("examples", ()):
            yield Shown(parameter["name"], parameter["schema"], value)
        for value in examples_of(parameter):
            yield Shown(parameter["name"], parameter["schema"], value)
    for name, content in contents_of(operation):
        for value in examples_of(content):
            yield Shown(name, content["schema"], value)


def codes_of(operation: dict[str, Any]) -> set[str]:
    return {
        code
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for code in response["content"]["application/problem+json"]["examples"]
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_everything_that_is_sent_or_answered_has_an_example(name: str) -> None:
    operation = OPERATIONS[name]
    assert [where for where, content in contents_of(operation) if not examples_of(content)] == []
    for status, response in operation["responses"].items():
        assert (status == "204") is not bool(response.get("content")), status
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        told = examples_of(parameter) or schema.get("examples") or {"enum", "default", "$ref", "anyOf"} & schema.keys()
        assert told, parameter["name"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_example_is_as_its_schema_says(name: str) -> None:
    shown = list(shown_by(OPERATIONS[name]))
    assert shown
    for where, schema, value in shown:
        whole = schema | {"components": DOCUMENT["components"]}
        validator = Draft202012Validator(whole, validate_formats=True)
        assert [f"{where}: {error.message}" for error in validator.iter_errors(value)] == []


def test_every_refusal_is_named_by_an_endpoint() -> None:
    named = set[str]().union(*map(codes_of, OPERATIONS.values()))
    assert problems.STATUS.keys() - named == NOT_OF_ONE_ENDPOINT
    assert named <= problems.STATUS.keys()


def test_an_example_that_is_wrong_is_found() -> None:
    wrong = OPERATIONS["GET /api/admin/stats"]["responses"]["200"]["content"]["application/json"]
    schema = wrong["schema"] | {"components": DOCUMENT["components"]}
    assert not Draft202012Validator(schema).is_valid(wrong["example"] | {"position": "far"})
