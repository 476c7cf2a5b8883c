"""Options that several commands share are written once: a parameter of a command may be a dataclass of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")


class Commands(typer.Typer):
    """A Typer whose commands may take groups of options: frozen dataclasses whose fields are annotated for Typer.

    The help shows the command's own parameters first, then those of its groups.
    """

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:  # type: ignore[override]  # noqa: ANN401 - what Typer takes goes on to it
        """As Typer's; the function itself stays as it was written."""
        register = super().command(name, **settings)

        def registered(function: Callable[P, R]) -> Callable[P, R]:
            register(spread(function))
            return function

        return registered


def spread(function: Callable[..., R]) -> Callable[..., R]:
    """The same command with the fields of its groups as parameters of its own."""
    own = inspect.signature(function, eval_str=True).parameters.values()
    groups = {parameter.name: parameter.annotation for parameter in own if _is_group(parameter.annotation)}
    fields = {name: inspect.signature(group, eval_str=True).parameters for name, group in groups.items()}

    @wraps(function)
    def called(**given: object) -> R:
        for name, group in groups.items():
            given[name] = group(**{field: given.pop(field) for field in fields[name]})
        return function(**given)

    parameters = [parameter for parameter in own if parameter.name not in groups]
    parameters += [field for name in groups for field in fields[name].values()]
    named = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    called.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]  # what `inspect` reads first
    return called


def _is_group(annotation: object) -> bool:
    return is_dataclass(annotation)
