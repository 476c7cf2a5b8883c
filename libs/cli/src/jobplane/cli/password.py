"""`jobplane password`: when nobody can log in any more."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jobplane.cli.failures import Exit, Failed
from jobplane.cli.target import DEFAULT_DATA, DataOption
from jobplane.local import credentials, data_dir, ports
from jobplane.local.addresses import as_user
from jobplane.local.credentials import Credentials, role_of
from jobplane.local.data_dir import DataDirectory
from jobplane.local.embedded import Servers

app = typer.Typer(help="Reset a forgotten password on this machine.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="The account.")]


@app.callback()
def _group() -> None:
    """Keep `reset` a word of its own."""


@app.command()
def reset(name: NameArgument = "admin", data: DataOption = DEFAULT_DATA) -> None:
    """Give an account a new password: the one in JOBPLANE_PASSWORD, else a generated one that is shown once.

    Its sessions and tokens end. It works with the platform running or not, for whoever may read the data directory.

    Example:

        jobplane password reset admin
    """
    from jobplane.gateway import accounts  # noqa: PLC0415 - the gateway's own rule; loaded by those who need it

    given = os.environ.get("JOBPLANE_PASSWORD")
    password = given or secrets.token_urlsafe(12)
    with _database(data) as address:
        asyncio.run(accounts.reset_password(address, name, password))
    typer.echo(f"{name} has a new password" + ("" if given else f": {password} (shown only this once)"))


@contextmanager
def _database(data: Path) -> Iterator[str]:
    """The gateway's own address of the database; an embedded server that does not run is started for the moment."""
    directory = DataDirectory(data.absolute())
    if not directory.credentials.exists():
        message = f"No platform was started here ({directory.credentials} is missing): name its --data directory."
        raise Failed(message, Exit.UNREACHABLE)
    known = credentials.load_or_create(directory.credentials)
    operator = os.environ.get("DATABASE_URL")
    if operator:
        yield _gateway_role(operator, known)
    elif ports.answers(known.ports.get("postgres", 0)):
        yield _gateway_role(f"postgresql://{ports.LOOPBACK}:{known.ports['postgres']}/jobplane", known)
    else:
        with data_dir.in_use(data) as held:
            servers = Servers(held, known, {**known.ports, "postgres": ports.free_port()}, database_url=None)
            servers.start_postgres()
            try:
                servers.wait_postgres()
                yield _gateway_role(servers.addresses.database, known)
            finally:
                servers.stop(timeout_s=8.0)


def _gateway_role(address: str, known: Credentials) -> str:
    role = role_of("gateway")
    return as_user(address, role, known.roles[role])
