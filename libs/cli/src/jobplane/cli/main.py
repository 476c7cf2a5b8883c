"""The `jobplane` command: one module per group of commands, put together here."""

import logging
import sys

import structlog
import typer

from jobplane.cli import bulk, dead_letters, enqueue, errors, jobs, journal, logs, password, queues, status, up, worker
from jobplane.cli.doctor.command import doctor
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.options import Commands
from jobplane.cli.verify.command import verify
from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.local.connections import NotRunning

app = Commands(
    name="jobplane",
    help="The admin control plane for background jobs.",
    epilog="Exit codes: 0 done · 1 refused or failed · 2 wrong usage · 3 no platform answers · 4 not found.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(worker.worker)
app.command()(enqueue.enqueue)
app.add_typer(jobs.app, name="jobs")
app.add_typer(queues.app, name="queues")
app.add_typer(bulk.app, name="bulk")
app.add_typer(errors.app, name="errors")
app.add_typer(dead_letters.app, name="dlq")
app.command()(status.status)
app.command()(doctor)
app.command()(verify)
app.command()(logs.logs)
app.add_typer(password.app, name="password")
app.add_typer(journal.app, name="journal")


def main() -> None:
    """Run the command; what went wrong is one sentence on stderr."""
    # stdout is for what was asked; processes that log (`worker`) configure it anew
    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=quiet, logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.argv[1:] = with_builtin_demo(sys.argv[1:])
    try:
        app()
    except Failed as error:
        _end(error, error.code)
    except (NotRunning, Unavailable) as error:
        _end(error, Exit.UNREACHABLE)
    except JobplaneError as error:
        _end(error, Exit.REFUSED)


def _end(error: JobplaneError, code: Exit) -> None:
    typer.echo(f"jobplane: {error}", err=True)
    sys.exit(code)


def with_builtin_demo(arguments: list[str]) -> list[str]:
    """`--demo` may stand alone; the parser wants a value, so it gets the one that means "the package's pictures"."""
    completed: list[str] = []
    for index, argument in enumerate(arguments):
        completed.append(argument)
        following = arguments[index + 1 : index + 2]
        if argument == "--demo" and (not following or following[0].startswith("-")):
            completed.append(str(up.BUILTIN))
    return completed
