"""The command: look at everything, say what to do, start and change nothing."""

import asyncio
import logging
from typing import Annotated

import structlog
import typer

from jobplane.cli import output
from jobplane.cli.doctor.finding import Verdict
from jobplane.cli.failures import Exit
from jobplane.cli.target import DEFAULT_DATA, DataOption, JsonOption
from jobplane.local.data_dir import DataDirectory

StrictOption = Annotated[bool, typer.Option("--strict", help="Warnings fail too.")]


def doctor(data: DataOption = DEFAULT_DATA, json_: JsonOption = False, strict: StrictOption = False) -> None:
    """Look at what the platform needs: settings, servers, versions, permissions, streams, disk, lag, clock.

    It works whatever is down, and starts and changes nothing. Exit code 1 if a check fails.

    Example:

        jobplane doctor
    """
    from jobplane.cli.doctor import examination, report  # noqa: PLC0415 - clients that other commands need not load

    # What the bus denies or cuts off is what is looked for: it is told by the findings, not by the log.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    findings = asyncio.run(examination.examine(DataDirectory(data.absolute())))
    if json_:
        output.as_json(report.as_dict(findings))
    else:
        output.paged(lambda console: report.show(console, findings))
    bad = {Verdict.FAILURE, Verdict.WARNING} if strict else {Verdict.FAILURE}
    raise typer.Exit(Exit.REFUSED if any(finding.verdict in bad for finding in findings) else Exit.OK)
