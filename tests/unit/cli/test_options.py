"""Groups of options: written once, taken by many commands."""

from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from jobplane.cli.options import Commands


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    town: Annotated[str | None, typer.Option("--town", help="Where.")] = None
    streets: Annotated[list[str] | None, typer.Argument(metavar="[STREET…]")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Precise(Place):
    number: Annotated[int, typer.Option("--number", min=1)] = 7


def told(*arguments: str) -> tuple[int, str]:
    app = Commands()

    @app.command()
    def where(place: Precise, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
        typer.echo(f"{place!r} {loud}")

    assert where.__name__ == "where"
    said = CliRunner().invoke(app, arguments)
    return said.exit_code, said.output


def test_a_group_holds_what_was_typed_or_its_defaults() -> None:
    assert told() == (0, f"{Precise()!r} False\n")
    found = Precise(town="Graz", streets=["a", "b"], number=3)
    assert told("a", "--town", "Graz", "--number", "3", "b", "--loud") == (0, f"{found!r} True\n")


def test_an_option_of_a_group_is_checked_and_explained_as_any_other() -> None:
    assert told("--number", "0")[0] == 2
    help_ = told("--help")[1]
    assert help_.index("--loud") < help_.index("--town") < help_.index("--number")
    assert "Where." in help_
