"""`jobplane journal`: what an operator decides when journal and bus tell two histories."""

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jobplane.cli.failures import Exit, Failed
from jobplane.cli.target import DEFAULT_DATA, DataOption
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS
from jobplane.local import credentials
from jobplane.local.addresses import Addresses
from jobplane.local.data_dir import DataDirectory
from jobplane.local.ports import LOOPBACK

app = typer.Typer(help="Decide what to do when journal and bus disagree.", no_args_is_help=True)


class Owner(StrEnum):
    """A service that has a journal."""

    JOBS = "jobs"
    GATEWAY = "gateway"


_STREAMS = {Owner.JOBS: EVT_JOBS, Owner.GATEWAY: EVT_ADMIN}
OwnerArgument = Annotated[Owner, typer.Argument(help="Whose journal.", show_default=False)]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.callback()
def _group() -> None:
    """Keep `new-epoch` a word of its own."""


@app.command("new-epoch")
def new_epoch(owner: OwnerArgument, data: DataOption = DEFAULT_DATA, *, yes: YesOption = False) -> None:
    """Allow writes again after `journal_diverged`: a new stream begins after everything that either side has.

    For a database that was restored from a backup older than the bus. Events that only the old stream had stay in the
    audit log, but what they changed is lost; events that only the journal had are never published. The platform must
    run; let audit and health catch up first (`jobplane status`).

    Example:

        jobplane journal new-epoch jobs
    """
    from jobplane.cli import epochs  # noqa: PLC0415 - database and bus clients that other commands need not load

    addresses = _addresses(data)
    if not yes:
        typer.confirm(f"The stream {_STREAMS[owner]} is deleted and begins anew. Go on?", abort=True)
    figures = asyncio.run(epochs.begin(addresses, owner, _STREAMS[owner]))
    typer.echo(f"epoch {figures.epoch} of {owner} begins at position {figures.first}")


def _addresses(data: Path) -> Addresses:
    directory = DataDirectory(data.absolute())
    if not directory.credentials.exists():
        message = f"No platform was started here ({directory.credentials} is missing): name its --data directory."
        raise Failed(message, Exit.UNREACHABLE)
    known = credentials.load_or_create(directory.credentials)
    return Addresses(
        database=os.environ.get("DATABASE_URL") or f"postgresql://{LOOPBACK}:{known.ports['postgres']}/jobplane",
        nats=os.environ.get("NATS_URL") or f"nats://{LOOPBACK}:{known.ports['nats']}",
        roles=known.roles,
        nats_users=known.nats_users,
    )
