"""What a round of chaos found, for people and for docs/reliability.md."""

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from tests.chaos.act import Result, Scenario

_HEAD: Final = ("scenario", "seeds", "operations", "events", "faults", "seconds", "violations")


def rows(results: Iterable[Result]) -> list[tuple[str, ...]]:
    """One row per scenario, in order of appearance, and the sums."""
    by_scenario: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_scenario[result.scenario].append(result)
    table = [_row(name, found) for name, found in by_scenario.items()]
    return [*table, _row("all", [result for found in by_scenario.values() for result in found])]


def _row(name: str, results: Sequence[Result]) -> tuple[str, ...]:
    left_out = next((result.left_out for result in results if result.left_out), "")
    numbers = (
        len(results),
        sum(result.operations for result in results),
        sum(result.events for result in results),
        sum(result.faults for result in results),
        round(sum(result.seconds for result in results)),
        sum(len(result.violations) for result in results),
    )
    told = [str(number) for number in numbers]
    if left_out and name != "all":
        told[-1] = f"left out: {left_out}"
    return (name, *told)


def text(results: Sequence[Result]) -> str:
    """A table with aligned columns."""
    table = [_HEAD, *rows(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def update(page: str, results: Sequence[Result], scenarios: Iterable[Scenario]) -> str:
    """The page with the tables between its marks made anew."""
    for mark, table in (("faults", promises(scenarios)), ("results", markdown(results))):
        begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return page


def markdown(results: Sequence[Result]) -> str:
    """The same table, dated, with the machine it was made on."""
    lines = [f"| {' | '.join(row)} |" for row in rows(results)]
    made = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    return "\n".join([f"Made {made}.", "", f"| {' | '.join(_HEAD)} |", "|---|" + "---:|" * (len(_HEAD) - 1), *lines])


def promises(scenarios: Iterable[Scenario]) -> str:
    """The table of faults and promises."""
    lines = [f"| {s.row} | `{s.name}` | {s.promise}{_missing(s)} |" for s in scenarios]
    return "\n".join(["| fault | scenario | what is asserted |", "|---|---|---|", *lines])


def _missing(scenario: Scenario) -> str:
    return f" (**missing**: {scenario.missing})" if scenario.missing else ""


def plain(results: Iterable[Result]) -> list[dict[str, Any]]:
    """For a JSON file."""
    return [asdict(result) for result in results]
