"""Tables for people and JSON for scripts."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobplane.cli import columns
from jobplane.cli.columns import Layout

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
_AS_JSON: Final = frozenset({"payload", "result", "body", "data"})
"""What is somebody's own JSON: shown as it is."""
_COUNTED: Final = ("breakdown.", "undo.codes")
"""What says how many of each there are."""
_INDENT: Final = "    "
_WHOLE_LINES: Final = 100_000
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


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, whole: bool = False) -> None:
    """A plain table; known states are coloured. Whole lines when nobody looks; on a terminal all but ids is fitted.

    `whole`: the last column is not cut either, but gets as many lines as it needs.
    """
    lines = [[" ".join(cell.splitlines()) for cell in row] for row in rows]
    paged(lambda out: _print(out, list(headers), lines, whole=whole))


def _print(out: Console, headers: list[str], rows: list[list[str]], *, whole: bool) -> None:
    natural = [max(map(cell_len, column)) for column in zip(headers, *rows, strict=True)]
    layout = columns.laid_out(natural, out.width, whole=whole)
    beneath = layout.beneath and any(row[-1] for row in rows)
    out.print(_line(headers, layout, bold=True), soft_wrap=True)
    if beneath:
        out.print(Text(_INDENT + headers[-1], style="bold"), soft_wrap=True)
    for row in rows:
        out.print(_line(row, layout), soft_wrap=True)
        if beneath and row[-1]:
            room = max(1, out.width - len(_INDENT))
            for line in Text(row[-1]).wrap(out, room) if whole else [_cell(row[-1], room)]:
                line.rstrip()
                out.print(Text(_INDENT) + line, soft_wrap=True)


def _line(cells: list[str], layout: Layout, *, bold: bool = False) -> Text:
    parts = [
        _cell(cell, width, "bold" if bold else STATUS_STYLES.get(cell, ""))
        for cell, width in zip(cells, layout.widths, strict=False)  # the last one may stand beneath
    ]
    line = Text(" " * columns.GAP).join(parts)
    line.rstrip()
    return line


def _cell(text: str, width: int, style: str = "") -> Text:
    cell = Text(text, style=style)
    cell.truncate(width, overflow="ellipsis", pad=True)
    return cell


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


def moment(instant: str | None) -> str:
    """When it was, in UTC: the time of day, and before it the date unless that is today."""
    if instant is None:
        return ""
    at = datetime.fromisoformat(instant).astimezone(UTC)
    return at.strftime("%H:%M:%S" if at.date() == datetime.now(UTC).date() else "%Y-%m-%d %H:%M:%S")


def jobs(count: int) -> str:
    """So many jobs."""
    return f"{count} job{'' if count == 1 else 's'}"


def plain(value: object) -> str:
    """A value of an answer in one cell."""
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def fields(values: dict[str, Any]) -> None:
    """What one thing is, a line for each thing known of it."""
    shown = Table("FIELD", "VALUE", box=None, pad_edge=False, header_style="bold")
    shown.columns[0].no_wrap, shown.columns[1].overflow = True, "fold"
    for name, value in _flat(values):
        if value not in (None, [], {}):
            cell = _value(name, value)
            shown.add_row(name, Text(cell, style=STATUS_STYLES.get(cell, "")))
    paged(lambda out: out.print(shown))


def _value(name: str, value: object) -> str:
    if name in _AS_JSON:
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict) and name.startswith(_COUNTED) and all(type(number) is int for number in value.values()):
        return counts(value)
    return plain(value)


def _flat(values: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, dict) and name not in _AS_JSON:
            yield from ((f"{name}.{inner}", of_it) for inner, of_it in value.items())
        else:
            yield name, value
