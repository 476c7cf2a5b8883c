"""The command: what to look at, and how it ends."""

import asyncio
import logging
from typing import TYPE_CHECKING, Annotated

import typer

from jobplane.cli import output
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.target import DEFAULT_DATA, DataOption, JsonOption
from jobplane.cli.verify.verdict import INVARIANTS, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobplane.cli.verify.verdict import Tally

OnlyOption = Annotated[
    str | None, typer.Option("--only", metavar="I1,…", help=f"Look at these alone: {', '.join(INVARIANTS)}.")
]
FromOption = Annotated[
    int | None,
    typer.Option("--from", metavar="POSITION", min=1, help="Begin at this position in the journal of the jobs."),
]


def verify(
    data: DataOption = DEFAULT_DATA,
    only: OnlyOption = None,
    start: FromOption = None,
    json_: JsonOption = False,
) -> None:
    """Check that nothing was lost, doubled or changed: journals, bus, jobs, outcomes and audit log must agree.

    It only reads, in short snapshots, and may run at any time; what happens meanwhile is not judged. Without a data
    directory it uses DATABASE_URL and NATS_URL. Exit code 1: something is violated; 3: something could not be read.

    Example:

        jobplane verify --only I1,I2 --from 100000
    """
    from rich.console import Console  # noqa: PLC0415 - with the clients below, what other commands need not load

    from jobplane.cli import site  # noqa: PLC0415 - see above
    from jobplane.cli.verify import report, running  # noqa: PLC0415 - see above

    wanted = chosen(only)
    # what the pool tries meanwhile is nothing to tell: how it ended is said once
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    with report.Bars(Console(stderr=True, highlight=False)) as bars:
        heads, tallies = asyncio.run(running.verify(site.find(data), wanted, start, bars.advanced))
    if json_:
        output.as_json(report.as_dict(heads, tallies))
    else:
        output.paged(lambda console: report.show(console, heads, tallies))
    raise typer.Exit(exit_code(tallies))


def chosen(only: str | None) -> list[str]:
    """The invariants that are named, in their order; all if none is.

    Raises:
        Failed: one of them does not exist.
    """
    if only is None:
        return list(INVARIANTS)
    names = {name.strip().upper() for name in only.split(",") if name.strip()}
    unknown = sorted(names - INVARIANTS.keys())
    if unknown or not names:
        raise Failed(f"--only knows {', '.join(INVARIANTS)}, not {', '.join(unknown) or 'nothing'}.", Exit.USAGE)
    return [name for name in INVARIANTS if name in names]


def exit_code(tallies: "Sequence[Tally]") -> Exit:
    """Violations come before what could not be read."""
    found = {tally.status for tally in tallies}
    if Status.VIOLATED in found:
        return Exit.REFUSED
    return Exit.UNREACHABLE if Status.UNJUDGED in found else Exit.OK
