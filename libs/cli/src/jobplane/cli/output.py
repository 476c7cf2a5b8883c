"""Tables for people and JSON for scripts."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

STATUS_STYLES: Final = {
    "PENDING": "yellow",
    "RUNNING": "blue",
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCELLED": "dim",
    "active": "green",
    "paused": "yellow",
    "draining": "yellow",
    "drained": "dim",
    "planned": "yellow",
    "running": "blue",
    "done": "green",
    "failed": "red",
    "ok": "green",
    "up": "green",
    "warn": "yellow",
    "late": "yellow",
    "fail": "red",
    "down": "red",
    "stopped": "dim",
}
_AS_JSON: Final = frozenset({"payload", "body", "data"})
"""What is somebody's own JSON: shown as it is."""
_WHOLE_LINES: Final = 500
_KINDS: Final = 8
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def console() -> Console:
    """Where tables go."""
    return Console(highlight=False, soft_wrap=False)


def as_json(value: object) -> None:
    """The answer as it is."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def as_json_line(value: object) -> None:
    """One line of many: what comes later is not waited for."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A plain table; known states are coloured. Whole lines when nobody looks: ids are never cut for a pipe."""
    shown = Table(*headers, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*(Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in row))
    paged(lambda out: out.print(shown))


def paged(show: Callable[[Console], None]) -> None:
    """What `show` prints: fitted to a terminal; elsewhere whole lines, without the spaces that fill columns."""
    out = console()
    if out.is_terminal:
        show(out)
        return
    out.width = _WHOLE_LINES
    with out.capture() as captured:
        show(out)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def age(instant: str | None) -> str:
    """How long ago, in one unit; `in 5 min` for the future."""
    if instant is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()
    size, unit = next(((size, unit) for size, unit in _UNITS if abs(seconds) >= size), _UNITS[-1])
    text = f"{abs(seconds) / size:.0f} {unit}"
    return text if seconds >= 0 else f"in {text}"


def counts(numbers: dict[str, int] | None) -> str:
    """How many of what, the most first; of many kinds only the first."""
    ordered = sorted((numbers or {}).items(), key=lambda pair: (-pair[1], pair[0]))
    more = [f"and {len(ordered) - _KINDS} more"] if len(ordered) > _KINDS else []
    return ", ".join([f"{count} {name}" for name, count in ordered[:_KINDS]] + more)


def plain(value: object) -> str:
    """A value of an answer in one cell."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, dict) and value and all(type(number) is int for number in value.values()):
        return counts(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def fields(values: dict[str, Any]) -> None:
    """What one thing is, a line for each thing known of it."""
    table(["FIELD", "VALUE"], [[name, plain(value)] for name, value in _flat(values) if value not in (None, [], {})])


def _flat(values: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict) and name not in _AS_JSON:
            yield from ((f"{name}.{inner}", of_it) for inner, of_it in value.items())
        else:
            yield name, value
