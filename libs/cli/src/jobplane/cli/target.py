"""Which platform a command means, and as whom: the one of this machine unless a URL is given."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from jobplane.cli.client import Client
from jobplane.cli.failures import Exit, Failed
from jobplane.local import connections
from jobplane.local.connections import CommandLine
from jobplane.local.data_dir import DEFAULT, DataDirectory

DEFAULT_DATA = DEFAULT
DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", envvar="JOBPLANE_DATA", help="Data directory of the platform here.")
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", envvar="JOBPLANE_URL", help="Another platform, e.g. https://jobs.example.com."
    ),
]
UsernameOption = Annotated[
    str | None,
    typer.Option("--username", metavar="NAME", help="Account for --url; its password is read from JOBPLANE_PASSWORD."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for scripts instead of a table for people.")]


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway and an account."""

    connection: CommandLine
    token_file: Path | None
    """Where a token is kept between commands; nowhere for another machine's platform."""


def find(data: Path, url: str | None, username: str | None) -> Target:
    """The platform that was named, else the one of the data directory."""
    if url is None:
        directory = DataDirectory(data.absolute())
        return Target(connections.read(directory.connection, CommandLine), directory.root / "token.json")
    password = os.environ.get("JOBPLANE_PASSWORD")
    if not username or not password:
        message = "--url needs --username NAME, and the password in the variable JOBPLANE_PASSWORD."
        raise Failed(message, Exit.USAGE)
    return Target(CommandLine(url=url.rstrip("/"), username=username, password=password), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What every command that asks a platform may be told: which one, as whom, and whether a script will read it."""

    data: DataOption = DEFAULT_DATA
    url: UrlOption = None
    username: UsernameOption = None
    as_json: JsonOption = False

    def client(self) -> Client:
        """A connection to that platform. Raises Failed: there is none."""
        return Client(find(self.data, self.url, self.username))
