"""The run as tables: for a terminal, and as markdown for docs/performance.md."""

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Comparison, Measurement, Run

_MARK = {True: "met", False: "missed", None: ""}


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def target(one: Measurement) -> str:
    """What it should be."""
    if one.target is None:
        return ""
    return f"{'≥' if one.better == 'higher' else '≤'} {number(one.target)}"


def spread(one: Measurement) -> str:
    """From the smallest to the largest repetition."""
    return f"{number(one.low)} to {number(one.high)}" if len(one.values) > 1 else ""


def show(run: Run, console: Console) -> None:
    """The figures, for people."""
    console.print(heading(run))
    table = Table(box=None, pad_edge=False)
    for column in ("", "median", "range", "unit", "target", ""):
        table.add_column(column, justify="right" if column in {"median", "target"} else "left", no_wrap=column != "")
    for one in run.measurements:
        style = "red" if one.on_target is False else None
        table.add_row(
            one.title, number(one.median), spread(one), one.unit, target(one), _MARK[one.on_target], style=style
        )
    console.print(table)
    for name, why in run.skipped.items():
        console.print(f"not measured: {name} ({why})", highlight=False)


def show_comparison(found: list[Comparison], console: Console) -> None:
    """Ratios; the last column is the one to trust across days and machines."""
    console.print("compared, above 1 is better:")
    table = Table(box=None, pad_edge=False)
    for column in ("", "before", "now", "unit", "ratio", "machine", "corrected"):
        table.add_column(column, justify="left" if column in {"", "unit"} else "right")
    for one in found:
        machine = "" if one.machine is None else f"{one.machine:.2f}"
        corrected = "" if one.corrected is None else f"{one.corrected:.2f}"
        before, now = number(one.old.median), number(one.new.median)
        table.add_row(one.new.title, before, now, one.new.unit, f"{one.ratio:.2f}", machine, corrected)
    console.print(table)


def heading(run: Run) -> str:
    """Where and when."""
    told = run.machine
    where = f"{told['cpus']} CPUs ({told['model']})"
    busy = told.get("load", 0) > told["cpus"] / 2
    about = f"{told['at'][:10]}, {where}, Python {told['python']}, revision {told['revision']}"
    return f"{about}, BUSY WITH OTHER THINGS (load {told['load']}): not to be kept" if busy else about


def markdown(run: Run) -> str:
    """The same as a page's table."""
    rows = [
        f"Measured {heading(run)}. Medians of repetitions.",
        "",
        "| | median | range | target | |",
        "|---|---:|---|---:|---|",
    ]
    rows += [
        f"| {one.title} | {number(one.median)} {one.unit} | {spread(one)} | {target(one)} | {_MARK[one.on_target]} |"
        for one in run.measurements
    ]
    rows += [""] + [f"Not measured: {name} ({why})." for name, why in run.skipped.items()]
    return "\n".join(rows).rstrip() + "\n"
