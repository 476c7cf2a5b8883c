"""`jobplane worker`: your own handlers against a running platform."""

import os
from pathlib import Path
from typing import Annotated

import typer

from jobplane.cli.target import DEFAULT_DATA, DataOption
from jobplane.local import connections
from jobplane.local.connections import WorkerConnection
from jobplane.local.data_dir import DataDirectory

ModulesArgument = Annotated[
    list[str],
    typer.Argument(metavar="MODULE", help="Modules that declare handlers, e.g. my.module.", show_default=False),
]
ConnectionOption = Annotated[
    Path | None,
    typer.Option(
        "--connection", metavar="FILE", help="Connection file of the platform, if it is not the one of --data."
    ),
]
QueueOption = Annotated[list[str] | None, typer.Option("--queue", help="Queue to take jobs from; may be repeated.")]
ConcurrencyOption = Annotated[int, typer.Option("--concurrency", min=1, max=2048, help="Jobs at the same time.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of this worker; host and process id by default.")]


def worker(
    modules: ModulesArgument,
    data: DataOption = DEFAULT_DATA,
    connection: ConnectionOption = None,
    queue: QueueOption = None,
    concurrency: ConcurrencyOption = 8,
    name: NameOption = None,
) -> None:
    """Run jobs with the handlers of your own modules, until Ctrl-C; jobs that are not finished then are given back.

    `jobplane up` writes the connection file (worker.json in the data directory); copy it to run a worker elsewhere.

    Examples:

        jobplane worker my.module

        jobplane worker reports invoices --queue slow --concurrency 2
    """
    from jobplane.chassis.settings import load  # noqa: PLC0415 - see below
    from jobplane.worker import launch  # noqa: PLC0415 - the SDK is loaded by those who run jobs
    from jobplane.worker.settings import WorkerSettings  # noqa: PLC0415 - see above

    known = connections.read(connection or DataDirectory(data.absolute()).worker_connection, WorkerConnection)
    told = {
        "JOBPLANE_NATS_URL": known.nats_url,
        "JOBPLANE_OBJECT_STORE_URL": known.object_store_url,  # handlers that use assets read it themselves
        "JOBPLANE_WORKER_CONCURRENCY": str(concurrency),
        "JOBPLANE_WORKER_QUEUES": ",".join(queue or ["default"]),
        "JOBPLANE_WORKER_MODULES": ",".join(modules),
    }
    os.environ.update(told | ({"JOBPLANE_INSTANCE": name} if name else {}))
    settings = load(WorkerSettings)
    launch.run(settings.worker_modules, settings)
