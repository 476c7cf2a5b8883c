"""`jobplane up`: the whole platform on this machine, until Ctrl-C."""

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from jobplane.cli.client import Client
from jobplane.cli.display import StartDisplay
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.target import DEFAULT_DATA, DataOption, Target
from jobplane.contracts.errors import Refused
from jobplane.local import credentials, data_dir, ports
from jobplane.local.connections import CommandLine
from jobplane.local.credentials import Credentials
from jobplane.local.data_dir import DataDirectory
from jobplane.local.files import write_private
from jobplane.local.plan import Options
from jobplane.local.problems import CannotStart
from jobplane.local.signals import Signals
from jobplane.local.supervisor import Platform, Stopped

BUILTIN = Path("-")
"""What `--demo` without a folder becomes on the way to the parser."""
_PRIVILEGED = 1024

PortOption = Annotated[
    int,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        envvar="JOBPLANE_HTTP_PORT",
        help="Port of the console and the API; 0 takes any.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=0, max=64, help="Worker processes for the example workload.")
]
DemoOption = Annotated[
    Path | None,
    typer.Option(
        "--demo",
        metavar="[DIR]",
        help="Turn the pictures of DIR into jobs; without DIR, photographs that a package brings.",
    ),
]
ReadyFileOption = Annotated[
    Path | None, typer.Option("--ready-file", metavar="FILE", help="Gets the URL once everything is ready.")
]


def up(
    data: DataOption = DEFAULT_DATA,
    port: PortOption = 8080,
    workers: WorkersOption = 2,
    demo: DemoOption = None,
    ready_file: ReadyFileOption = None,
) -> None:
    """Start NATS, PostgreSQL, the four services and the workers here, and keep them alive until Ctrl-C.

    DATABASE_URL and NATS_URL name servers of your own instead of the embedded ones. JOBPLANE_ADMIN_PASSWORD sets the
    password of the first admin; without it one is made and shown once.

    Examples:

        jobplane up --demo

        jobplane up --data /var/lib/jobplane --port 9000 --workers 4
    """
    folder = None if demo is None or demo == BUILTIN else demo
    if folder is not None and not folder.is_dir():
        message = f"--demo {folder}: there is no such folder."
        raise Failed(message, Exit.USAGE)
    options = Options(data, port, workers, ready_file, folder, builtin_demo=demo == BUILTIN)
    signals = Signals()
    signals.listen()  # before the first file is written: from there on, an end is an orderly end
    with data_dir.in_use(data) as directory, data_dir.plainly(directory.root):
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
        known = credentials.load_or_create(directory.credentials)
        _refuse_taken(port)
        _run(directory, known, options, signals)


def _refuse_taken(port: int) -> None:
    try:
        free = port == 0 or ports.is_free(port)
    except PermissionError as error:
        message = f"The right to listen on port {port} is missing: choose one from {_PRIVILEGED} on with --port."
        raise CannotStart(message) from error
    if not free:
        message = f"Port {port} is taken by another program: choose another one with --port."
        raise CannotStart(message)


def _run(directory: DataDirectory, known: Credentials, options: Options, signals: Signals) -> None:
    console = Console(highlight=False)
    display = StartDisplay(console)
    known, password = _first_password(directory, known)
    platform = Platform(directory, known, options, display, signals)
    try:
        platform.start(password)
        took = display.finish()
        _announce(console, platform.url, took, _unknown_yet(known, platform.url))
        _remember_shown(directory)
        if options.ready_file is not None:
            write_private(options.ready_file, f"{platform.url}\n")
        if options.demo is not None or options.builtin_demo:
            platform.demo()
        platform.watch()
    except Stopped:
        display.finish()
    finally:
        display.finish()
        if options.ready_file is not None:
            options.ready_file.unlink(missing_ok=True)
        platform.stop()
    console.print("stopped")


def _first_password(directory: DataDirectory, known: Credentials) -> tuple[Credentials, str | None]:
    """What the first admin is made with. A generated one is kept until it was shown, so that no crash can lose it."""
    given = os.environ.get("JOBPLANE_ADMIN_PASSWORD")
    if given and not known.set_up:
        _check(given)
    if given or known.set_up:
        return known, given
    if known.first_password is None:
        known = known.model_copy(update={"first_password": secrets.token_urlsafe(12)})
        credentials.save(directory.credentials, known)
    return known, known.first_password


def _check(password: str) -> None:
    from jobplane.gateway import accounts  # noqa: PLC0415 - the gateway's own rule; loaded by those who need it

    try:
        accounts.check_password(password)
    except Refused as error:
        message = f"JOBPLANE_ADMIN_PASSWORD cannot be used: {error.detail}"
        raise CannotStart(message) from error


def _unknown_yet(known: Credentials, url: str) -> str | None:
    """The generated password, if it is the one that was used: an operator's database may know its admin already."""
    if known.first_password is None or os.environ.get("JOBPLANE_ADMIN_PASSWORD"):
        return None
    admin = Target(CommandLine(url=url, username="admin", password=known.first_password), None)
    with Client(admin) as client:
        return known.first_password if client.knows_us() else None


def _remember_shown(directory: DataDirectory) -> None:
    """Only after the password was printed: whoever is killed before shows it at the next start."""
    now = credentials.load_or_create(directory.credentials)
    credentials.save(directory.credentials, now.model_copy(update={"set_up": True, "first_password": None}))


def _announce(console: Console, url: str, took: float, password: str | None) -> None:
    if password is not None:
        console.print(f"\n  sign in as [bold]admin[/] with the password [bold]{password}[/] (shown only this once)")
    console.print(f"  everything is up after {took:.1f} s, Ctrl-C stops it")
    typer.echo(f"ready {url}")
