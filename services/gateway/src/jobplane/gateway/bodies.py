"""Bodies of requests: read after the caller is known, never more than they may be, straight into a model."""

import inspect
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar, get_args

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from jobplane.contracts.errors import Refused

MOST_BYTES: Final = 1024 * 1024
_SUSPICIOUS: Final = re.compile(rb"\\u0000|NaN|Infinity|\d[eE]")
"""Only bodies with one of these may hold what cannot be kept; all others are not looked through."""

M = TypeVar("M", bound=BaseModel)


class Wish(BaseModel):
    """What a caller sends; unknown fields and other types are refused, so that no mistake is taken for a wish."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class JsonBody(Generic[M]):
    """A dependency that gives the request's JSON body as a model; with `default` there may be no body at all."""

    def __init__(self, model: type[M], default: M | None = None) -> None:
        self.model = model
        self.default = default
        self._adapter = TypeAdapter(model)

    async def __call__(self, request: Request) -> M:
        """Read and validate.

        Raises:
            Refused: `unsupported_media_type`, `payload_too_large`.
            RequestValidationError: what is wrong with it, field by field.
        """
        data = await _whole(request)
        if not data and self.default is not None:
            return self.default
        check_json(request)
        try:
            value = self._adapter.validate_json(data)
        except ValidationError as error:
            errors = [_in_body(item, self.model) for item in error.errors(include_url=False)]
            raise RequestValidationError(errors) from error
        if _SUSPICIOUS.search(data) and not _can_be_kept(from_json(data)):
            message = "Text must not contain the character U+0000, and numbers must be finite"
            raise RequestValidationError([{"loc": ("body",), "msg": message, "type": "not_storable"}])
        return value


def _in_body(error: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """An error of a body, with what its sentence needs: which names there are, or whether it can be left out."""
    place = error["loc"]
    context = dict(error.get("ctx") or {})
    if error["type"] == "extra_forbidden":
        context["known"] = list(_object_at(model, place[:-1]).model_fields)
    elif len(place) == 1 and place[0] in model.model_fields:
        context["needed"] = model.model_fields[place[0]].is_required()
    return {**error, "loc": ("body", *place), "ctx": context}


def _object_at(model: type[BaseModel], place: Iterable[str | int]) -> type[BaseModel]:
    """The model of an object within a body."""
    for name in place:
        annotation = model.model_fields[str(name)].annotation
        model = next(kind for kind in (annotation, *get_args(annotation)) if _is_model(kind))
    return model


def _is_model(kind: Any) -> bool:  # noqa: ANN401 - any annotation
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


async def _whole(request: Request) -> bytes:
    """The body; most have arrived in one piece before anybody asks for them.

    Raises:
        ClientDisconnect: the client went away in the middle of it.
    """
    parts = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def check_json(request: Request) -> None:
    """Refuse bodies of another type.

    Raises:
        Refused: `unsupported_media_type`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise Refused("unsupported_media_type", "Send the body as application/json.")


def _can_be_kept(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether PostgreSQL can keep a JSON value as it is: text without U+0000, finite numbers."""
    match value:
        case str():
            return "\x00" not in value
        case float():
            return math.isfinite(value)
        case dict():
            return all("\x00" not in key and _can_be_kept(item) for key, item in value.items())
        case list():
            return all(map(_can_be_kept, value))
        case _:
            return True
