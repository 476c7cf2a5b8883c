"""The result of a verification: a line for each invariant and a paragraph for each violation, or JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jobplane.cli.verify.sources import Head
from jobplane.cli.verify.verdict import INVARIANTS, Status, Tally

_MARKS: Final = {
    Status.OK: ("✓", "green"),
    Status.UNJUDGED: ("?", "yellow"),
    Status.VIOLATED: ("✗", "red"),
}
_INDENT: Final = "     "


class Bars:
    """One bar for each invariant that is being looked at, on a terminal only; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()

    def advanced(self, tally: Tally) -> None:
        """Draw how far it is; a finished one disappears."""
        task = self._tasks.get(tally.invariant)
        if task is None:
            description = f"{tally.invariant} {INVARIANTS[tally.invariant]}"
            task = self._tasks[tally.invariant] = self._progress.add_task(description, total=None, rate="")
        if tally.seconds:
            self._progress.update(task, visible=False)
            return
        speed = self._progress.tasks[task].speed
        rate = f"{speed:,.0f}/s" if speed else ""
        self._progress.update(task, total=tally.expected or None, completed=tally.checked, rate=rate)


def show(console: Console, heads: Mapping[str, Head], tallies: Sequence[Tally]) -> None:
    """Print it for people."""
    until = ", ".join(f"{service} {head.position:,}" for service, head in heads.items())
    console.print(Text(f"judged up to the positions {until}", style="dim"))
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column()
    table.add_column(ratio=1 if console.is_terminal else None)
    table.add_column(justify="right")
    for tally in tallies:
        mark, style = _MARKS[tally.status]
        looked_at = f"{tally.checked:,} looked at"
        if tally.seconds >= 1:
            looked_at += f", {tally.per_second:,.0f}/s"
        table.add_row(Text(mark, style=style), tally.invariant, tally.title, Text(looked_at, style="dim"))
    console.print(table)
    for tally in tallies:
        if tally.status is not Status.OK:
            _show_details(console, tally)
    notes = [f"{tally.invariant}  {note}" for tally in tallies for note in tally.notes]
    if notes:
        console.print()
        console.print(Text("notes", style="bold"))
        for note in notes:
            console.print(_paragraph(note))
    console.print()
    console.print(summary(tallies))


def _show_details(console: Console, tally: Tally) -> None:
    mark, style = _MARKS[tally.status]
    console.print()
    console.print(Text(f"{mark} {tally.invariant} {tally.title}", style=style))
    if tally.unjudged is not None:
        console.print(_paragraph(f"could not be judged to the end: {tally.unjudged}"))
    for advice in dict.fromkeys(violation.advice for violation in tally.violations):
        for violation in tally.violations:
            if violation.advice == advice:
                console.print(_paragraph(f"{violation.where}: {violation.what}"))
        console.print(_paragraph(f"→ {advice}"))
    if tally.count > len(tally.violations):
        console.print(_paragraph(f"… and {tally.count - len(tally.violations):,} more like these"))


def _paragraph(text: str) -> Table:
    """Indented, wrapped to the width of the terminal."""
    grid = Table.grid()
    grid.add_row(_INDENT, Text(text))
    return grid


def summary(tallies: Sequence[Tally]) -> Text:
    """One line."""
    violated = [tally.invariant for tally in tallies if tally.status is Status.VIOLATED]
    unjudged = [tally.invariant for tally in tallies if tally.status is Status.UNJUDGED]
    seconds = f"({sum(tally.seconds for tally in tallies):.1f} s)"
    if violated:
        count = sum(tally.count for tally in tallies)
        plural = "violation" if count == 1 else "violations"
        return Text(f"{count:,} {plural} of {', '.join(violated)} {seconds}", style="bold red")
    if unjudged:
        return Text(f"no violation found, but {', '.join(unjudged)} could not be judged {seconds}", style="bold yellow")
    noun = "invariant holds" if len(tallies) == 1 else f"{len(tallies)} invariants hold"
    return Text(f"{'the ' if len(tallies) == 1 else 'all '}{noun} {seconds}", style="bold green")


def as_dict(heads: Mapping[str, Head], tallies: Sequence[Tally]) -> dict[str, Any]:
    """The same for scripts."""
    order = list(Status)
    return {
        "status": max((tally.status for tally in tallies), key=order.index, default=Status.OK),
        "positions": {service: head.position for service, head in heads.items()},
        "epochs": {service: head.epoch for service, head in heads.items()},
        "invariants": [
            {
                "id": tally.invariant,
                "title": tally.title,
                "status": tally.status,
                "checked": tally.checked,
                "seconds": round(tally.seconds, 3),
                "violation_count": tally.count,
                "violations": [
                    {"what": one.what, "where": one.where, "advice": one.advice} for one in tally.violations
                ],
                "notes": tally.notes,
                "unjudged": tally.unjudged,
            }
            for tally in tallies
        ],
    }
