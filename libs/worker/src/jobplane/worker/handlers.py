"""Which function runs which kind of job, and the shape of payload it takes."""

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from pydantic import JsonValue, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_json

from jobplane.contracts.commands import KIND_PATTERN
from jobplane.worker.errors import BadHandler, InvalidPayload

F = TypeVar("F", bound=Callable[..., object])
Payload = dict[str, JsonValue]
_KIND = re.compile(KIND_PATTERN)
_PARAMETERS: Final = 2
_PROBLEMS_TOLD: Final = 8


_AS_IT_IS: Final = (Any, object, dict, dict[str, Any], dict[str, object], Payload)


class _Reader(Protocol):
    def __call__(self, payload: Payload) -> object: ...


@dataclass(frozen=True, slots=True)
class Handler:
    """One function, ready to be called."""

    kind: str
    function: Callable[..., Any]
    is_async: bool
    read: _Reader
    """The payload as the function wants it; raises InvalidPayload."""


class Handlers(Mapping[str, Handler]):
    """The handlers of a process by kind, in the order they were declared."""

    def __init__(self) -> None:
        self._functions: dict[str, Callable[..., object]] = {}
        self._ready: dict[str, Handler] = {}

    def handler(self, kind: str) -> Callable[[F], F]:
        """Declare that the function runs jobs of this kind: ``(ctx: Context, payload: Shape) -> JSON``, async or not.

        The annotation of `payload` is its shape: a pydantic model, a TypedDict, a dataclass or `dict`. A sync function
        runs in a thread. The function itself stays as it is, so a test may call it.

        Raises:
            BadHandler: not a kind, taken by another function, or not a function of two parameters.
        """
        if _KIND.fullmatch(kind) is None:
            raise BadHandler(f"{kind!r} cannot name a kind of job: letters, digits, '_', '.' and '-', at most 100")

        def declare(function: F) -> F:
            known = self._functions.get(kind)
            if known is not None and _name(known) != _name(function):
                raise BadHandler(
                    f"jobs of kind {kind!r} are run by {_name(known)} already, not also by {_name(function)}"
                )
            _positional(function)
            self._functions[kind] = function
            self._ready.pop(kind, None)
            return function

        return declare

    def __getitem__(self, kind: str) -> Handler:
        """The handler of a kind.

        Raises:
            KeyError: there is none.
            BadHandler: its payload's annotation cannot be understood.
        """
        ready = self._ready.get(kind)
        if ready is None:
            ready = self._ready[kind] = _prepare(kind, self._functions[kind])
        return ready

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)


def _prepare(kind: str, function: Callable[..., Any]) -> Handler:
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - an object with an async __call__ is a handler too
    return Handler(kind, function, is_async, _reader(function))


def _reader(function: Callable[..., Any]) -> _Reader:
    parameter = _positional(function)[1]
    source = function if inspect.isroutine(function) else type(function).__call__
    try:
        shape = typing.get_type_hints(source).get(parameter.name, dict)
        if shape in _AS_IT_IS:
            return _as_it_is
        adapter: TypeAdapter[object] = TypeAdapter(shape)
    except (NameError, TypeError, PydanticUserError) as error:
        raise BadHandler(
            f"the payload of {_name(function)} has no usable annotation: {str(error).partition(chr(10))[0]}"
        ) from error

    def read(payload: Payload) -> object:
        try:
            return adapter.validate_json(to_json(payload))  # JSON rules: a strict model still takes a date from text
        except ValidationError as error:
            raise InvalidPayload(_explain(error)) from None

    return read


def _as_it_is(payload: Payload) -> object:
    return payload


def _positional(function: Callable[..., object]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.kind in kinds]
    if len(found) != _PARAMETERS:
        raise BadHandler(f"{_name(function)} must take two parameters: (ctx: Context, payload: Shape)")
    return found


def _explain(error: ValidationError) -> str:
    """What is wrong where, without the values: they may be secret."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{'.'.join(('payload', *map(str, problem['loc'])))}: {problem['msg']}" for problem in problems[:_PROBLEMS_TOLD]
    ]
    more = len(problems) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def _name(function: Callable[..., object]) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


HANDLERS: Final = Handlers()
"""What the modules of this process have declared with `handler`."""
handler = HANDLERS.handler
