"""The documentation: complete, consistent, and true to the routes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from jobplane.contracts.audit import AuditPage
from jobplane.contracts.dead_letters import (
    DeadLetterDetail,
    DeadLetterDiscarded,
    DeadLetterPage,
    DeadLetterReplayed,
)
from jobplane.contracts.fleet import DetailedHealth
from jobplane.contracts.jobs import History, JobView, Stats
from jobplane.contracts.operations import OperationItems, OperationPage, OperationView
from jobplane.gateway import openapi, problem_examples, problems, views
from jobplane.gateway.assets import Asset
from jobplane.gateway.bodies import JsonBody
from jobplane.gateway.examples import EXAMPLES
from jobplane.gateway.request_examples import REQUESTS
from jobplane.gateway.routes import ROUTERS

DOCUMENT: dict[str, Any] = json.loads(json.dumps(openapi.document(ROUTERS, "1.2.3")))
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
BODIES: list[type[BaseModel]] = sorted(
    {
        call.model
        for route in openapi.routes_of(ROUTERS)
        for call in openapi.calls_of(route.dependant)
        if isinstance(call, JsonBody)
    },
    key=lambda model: model.__name__,
)
IDS = [f"{method} {path}" for method, path, _ in OPERATIONS]


def found(value: object, key: str) -> Iterator[Any]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from found(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from found(inner, key)


def test_every_reference_leads_somewhere() -> None:
    schemas = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert {ref for ref in found(DOCUMENT, "$ref") if isinstance(ref, str)} <= schemas


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=IDS)
def test_every_operation_says_what_it_does_and_how_it_may_fail(
    method: str, path: str, operation: dict[str, Any]
) -> None:
    assert operation["summary"], (method, path)
    assert operation["description"], (method, path)
    assert {"503", "421"} <= operation["responses"].keys()
    for status, response in operation["responses"].items():
        assert response["description"]
        if int(status) >= 400:
            content = response["content"]["application/problem+json"]
            for code, example in content["examples"].items():
                assert problems.status_of(code) == int(status) == example["value"]["status"]
            assert content["examples"]
    if "requestBody" in operation:
        assert {"413", "415"} <= operation["responses"].keys()
    for parameter in operation.get("parameters", ()):
        assert parameter["description"], (path, parameter["name"])


@pytest.mark.parametrize(
    "model",
    [
        openapi.JobListPage,
        JobView,
        History,
        Stats,
        OperationView,
        OperationPage,
        OperationItems,
        AuditPage,
        DetailedHealth,
        Asset,
        DeadLetterPage,
        DeadLetterDetail,
        DeadLetterReplayed,
        DeadLetterDiscarded,
        views.Accepted,
        views.Controlled,
        views.CommandStatus,
        views.Me,
        views.Bearer,
    ],
    ids=lambda model: model.__name__,
)
def test_every_example_is_what_it_is_an_example_of(model: type[BaseModel]) -> None:
    example = EXAMPLES[model.__name__]
    told = model.model_validate_json(json.dumps(example)).model_dump(mode="json", exclude_unset=True)
    assert told == example


@pytest.mark.parametrize("model", BODIES, ids=lambda model: model.__name__)
def test_every_body_has_examples_that_are_valid(model: type[BaseModel]) -> None:
    assert REQUESTS[model.__name__]
    for example in REQUESTS[model.__name__].values():
        model.model_validate_json(json.dumps(example))


def test_there_are_no_examples_of_what_cannot_be_sent() -> None:
    assert REQUESTS.keys() == {model.__name__ for model in BODIES}


def test_every_refusal_is_shown_with_a_sentence_of_its_own() -> None:
    assert problem_examples.SENTENCES.keys() == problems.STATUS.keys()
    assert problem_examples.FACTS.keys() <= problems.STATUS.keys()
    for code, sentence in problem_examples.SENTENCES.items():
        assert sentence[0].isupper() or code == "invalid_request", "that one begins with the name of a field"
        assert sentence[-1] in ".?"
    for code, facts in problem_examples.FACTS.items():
        problems.Problem(type="", title="", status=1, code=code, detail="", trace_id="", **facts)


def test_every_answer_has_an_example() -> None:
    shown = [
        content["application/json"]
        for _, _, operation in OPERATIONS
        for response in operation["responses"].values()
        if "application/json" in (content := response.get("content", {}))
    ]
    assert len(shown) > 20
    assert all("example" in content and "$ref" in content["schema"] for content in shown)


def test_list_items_are_jobs_without_what_is_large() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    item, whole = schemas["JobListItem"]["properties"], schemas["JobView"]["properties"]
    assert whole.keys() - item.keys() == {"payload", "result"}
    assert "stack" not in schemas["JobListError"]["properties"]
    assert item["kind"]["description"] == JobView.model_fields["kind"].description


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))
