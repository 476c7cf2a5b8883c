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


def answer_of(name: str, status: str = "200") -> Any:
    """The example of a successful answer; what is null in it is left out by the framework."""
    return OPERATIONS[name]["responses"][status]["content"]["application/json"]["example"]


def jobs_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every job that is shown whole, however deep."""
    if isinstance(value, dict):
        if {"status", "kind", "max_attempts", "version"} <= value.keys():
            yield value
        for part in value.values():
            yield from jobs_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from jobs_in(part)


@pytest.mark.parametrize("name", OPERATIONS)
def test_jobs_in_examples_could_be(name: str) -> None:
    for job in jobs_in([example for _, content in contents_of(OPERATIONS[name]) for example in examples_of(content)]):
        status = job["status"]
        assert bool(job.get("finished_at")) is (status in {"COMPLETED", "FAILED", "CANCELLED"})
        assert job["attempt"] <= job["max_attempts"]
        assert job["attempt"] <= job.get("run", job["attempt"])
        if status == "PENDING":
            assert not job.get("progress")
            assert job.get("result") is None
        assert bool(job.get("error")) is (status == "FAILED")


JOB = "/api/admin/jobs/{job_id}"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (f"POST {JOB}/retry", {"status": "PENDING", "attempt": 0}),
        (f"POST {JOB}/cancel", {"status": "CANCELLED", "stop": "pending"}),
        (f"DELETE {JOB}", {"status": "CANCELLED", "stop": "pending"}),
        (f"POST {JOB}/run", {"status": "PENDING", "forced": True}),
        (f"POST {JOB}/restore", {"status": "PENDING", "stop": None}),
        (f"PATCH {JOB}", {"status": "FAILED", "payload": {"side": 640}}),
    ],
)
def test_a_job_is_shown_as_the_verb_leaves_it(name: str, told: dict[str, Any]) -> None:
    shown = answer_of(name)["job"]
    assert {field: shown.get(field) for field in told} == told


def test_a_job_that_was_just_created_is_new() -> None:
    for name in ("POST /api/admin/jobs", f"POST {JOB}/clone"):
        assert answer_of(name, "201").items() >= {"status": "PENDING", "run": 0, "version": 1}.items()
        assert answer_of(name, "200")["unique_key"]
    copy = answer_of(f"POST {JOB}/clone", "201")
    assert copy["cloned_from"] not in {None, copy["id"]}


@pytest.mark.parametrize("what", ["queues/{queue}", "kinds/{kind}"])
@pytest.mark.parametrize(
    ("verb", "state"),
    [("POST pause", "paused"), ("POST drain", "draining"), ("POST resume", "active"), ("PUT limits", "active")],
)
def test_a_queue_is_shown_as_the_verb_leaves_it(what: str, verb: str, state: str) -> None:
    method, word = verb.split()
    shown = answer_of(f"{method} /api/admin/{what}/{word}")["queue"]
    assert shown["state"] == state
    assert bool(shown.get("paused")) is (state != "active")
    assert bool(shown.get("kind")) is (what == "kinds/{kind}")
    if "paused" in shown:
        assert shown["paused"]["drain"] is (state == "draining")


@pytest.mark.parametrize(
    ("verb", "status"), [("run", "running"), ("pause", "paused"), ("resume", "running"), ("stop", "stopped")]
)
def test_an_operation_is_shown_as_the_verb_leaves_it(verb: str, status: str) -> None:
    shown = answer_of(f"POST /api/admin/operations/{{operation_id}}/{verb}")
    assert shown["status"] == status
    assert bool(shown.get("ended_at")) is (status == "stopped")


@pytest.mark.parametrize("name", ["POST /api/admin/jobs/bulk", "POST /api/admin/operations/{operation_id}/undo"])
def test_an_operation_that_goes_on_has_not_ended(name: str) -> None:
    accepted, planned = answer_of(name, "202"), answer_of(name, "200")
    assert (accepted["status"], accepted.get("ended_at"), accepted["done"]) == ("planning", None, 0)
    assert (planned["status"], planned.get("started_at")) == ("planned", None)
    assert bool(accepted.get("undo_of")) is name.endswith("undo")


def test_every_refusal_is_named_by_an_endpoint() -> None:
    named = set[str]().union(*map(codes_of, OPERATIONS.values()))
    assert problems.STATUS.keys() - named == NOT_OF_ONE_ENDPOINT
    assert named <= problems.STATUS.keys()


def test_an_example_that_is_wrong_is_found() -> None:
    wrong = OPERATIONS["GET /api/admin/stats"]["responses"]["200"]["content"]["application/json"]
    schema = wrong["schema"] | {"components": DOCUMENT["components"]}
    assert not Draft202012Validator(schema).is_valid(wrong["example"] | {"position": "far"})
