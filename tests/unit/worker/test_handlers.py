"""Handlers: what may be declared, and what they get."""

import dataclasses
from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from jobplane.worker.errors import BadHandler, InvalidPayload
from jobplane.worker.handlers import Handlers


class Model(BaseModel):
    model_config = ConfigDict(strict=True)
    day: date


class Typed(TypedDict):
    n: int


@dataclasses.dataclass
class Data:
    n: int


async def takes_model(ctx: object, payload: Model) -> Model:
    return payload


def takes_typed(ctx: object, payload: Typed) -> Typed:
    return payload


def takes_data(ctx: object, payload: Data) -> Data:
    return payload


def takes_dict(ctx: object, payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def takes_anything(ctx, payload):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - a handler without annotations
    return payload


@pytest.mark.parametrize(
    ("function", "payload", "read"),
    [
        (takes_model, {"day": "2026-11-22"}, Model(day=date(2026, 11, 22))),
        (takes_typed, {"n": "3"}, {"n": 3}),
        (takes_data, {"n": 3}, Data(3)),
        (takes_dict, {"any": [1]}, {"any": [1]}),
        (takes_anything, {"any": [1]}, {"any": [1]}),
    ],
)
def test_a_payload_has_the_shape_of_its_annotation(function: Any, payload: Any, read: object) -> None:
    handlers = Handlers()
    handlers.handler("k")(function)
    assert handlers["k"].read(payload) == read


def test_a_wrong_payload_is_told_by_place_and_never_by_value() -> None:
    handlers = Handlers()
    handlers.handler("k")(takes_model)
    with pytest.raises(InvalidPayload, match=r"^payload\.day: ") as raised:
        handlers["k"].read({"day": "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_a_payload_wrong_in_many_places_is_told_in_short() -> None:
    def takes_many(ctx: object, payload: dict[str, int]) -> None: ...

    handlers = Handlers()
    handlers.handler("k")(takes_many)
    with pytest.raises(InvalidPayload, match="and 12 more") as raised:
        handlers["k"].read({f"key{number}": "x" for number in range(20)})
    assert str(raised.value).count(";") == 8


def test_async_and_sync_are_told_apart() -> None:
    class Callable:
        async def __call__(self, ctx: object, payload: Typed) -> None: ...

    handlers = Handlers()
    handlers.handler("async")(takes_model)
    handlers.handler("sync")(takes_dict)
    handlers.handler("object")(Callable())
    assert {kind: handlers[kind].is_async for kind in handlers} == {"async": True, "sync": False, "object": True}
    assert handlers["object"].read({"n": 1}) == {"n": 1}


@pytest.mark.parametrize("kind", ["", " ", "a b", ".a", "a/b", "x" * 101, "ä"])
def test_not_everything_names_a_kind(kind: str) -> None:
    with pytest.raises(BadHandler, match="cannot name a kind"):
        Handlers().handler(kind)


def test_a_kind_has_one_handler() -> None:
    handlers = Handlers()
    handlers.handler("k")(takes_dict)
    handlers.handler("k")(takes_dict)
    with pytest.raises(BadHandler, match="takes_dict already"):
        handlers.handler("k")(takes_data)


def test_a_handler_takes_two_parameters() -> None:
    def one(ctx: object) -> None: ...

    with pytest.raises(BadHandler, match="two parameters"):
        Handlers().handler("k")(one)


def test_an_annotation_that_cannot_be_understood_is_told() -> None:
    def strange(ctx: object, payload: "NoSuchThing") -> None: ...  # type: ignore[name-defined] # noqa: F821 - it is missing

    handlers = Handlers()
    handlers.handler("k")(strange)
    with pytest.raises(BadHandler, match="NoSuchThing"):
        handlers["k"]
