"""The findings for people, area by area, and for scripts."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobplane.cli.doctor.finding import Finding, Verdict

_MARKS: Final = {
    Verdict.OK: ("✓", "green"),
    Verdict.WARNING: ("!", "yellow"),
    Verdict.FAILURE: ("✗", "red"),
}


def show(console: Console, findings: Sequence[Finding]) -> None:
    """Print it for people."""
    width = max((len(finding.name) for finding in findings), default=0)
    for area, some in groupby(findings, key=lambda finding: finding.area):
        console.print(Text(area, style="bold"))
        table = Table.grid(padding=(0, 1))
        table.add_column(width=3, justify="right")
        table.add_column(width=width, overflow="fold")
        table.add_column(overflow="fold")
        for finding in some:
            mark, style = _MARKS[finding.verdict]
            table.add_row(Text(mark, style=style), finding.name, Text(finding.says))
            if finding.advice and finding.verdict is not Verdict.OK:
                table.add_row("", "", Text(f"→ {finding.advice}", style=style))
        console.print(table)
    console.print()
    console.print(summary(findings))


def summary(findings: Sequence[Finding]) -> Text:
    """One line."""
    failures, warnings = (
        sum(finding.verdict is verdict for finding in findings) for verdict in (Verdict.FAILURE, Verdict.WARNING)
    )
    parts = [_counted(failures, "failure"), _counted(warnings, "warning"), f"{len(findings)} checks"]
    style = "bold red" if failures else "bold yellow" if warnings else "bold green"
    if not failures and not warnings:
        return Text(f"all {len(findings)} checks are ok", style=style)
    return Text(", ".join(part for part in parts if part), style=style)


def _counted(number: int, noun: str) -> str:
    return "" if not number else f"{number} {noun}" + ("" if number == 1 else "s")


def as_dict(findings: Sequence[Finding]) -> dict[str, Any]:
    """The same for scripts."""
    order = list(Verdict)
    return {
        "status": max((finding.verdict for finding in findings), key=order.index, default=Verdict.OK),
        "findings": [
            {
                "area": finding.area,
                "name": finding.name,
                "verdict": finding.verdict,
                "says": finding.says,
                "advice": finding.advice,
            }
            for finding in findings
        ],
    }
