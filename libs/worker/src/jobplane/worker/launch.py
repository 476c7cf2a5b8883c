"""Starts a worker in this process: imports the modules that declare handlers, then runs until it is told to stop."""

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jobplane.chassis import process
from jobplane.contracts.errors import JobplaneError
from jobplane.worker.handlers import HANDLERS
from jobplane.worker.settings import WorkerSettings
from jobplane.worker.worker import END_S, WITHDRAW_S, work


class ModuleNotThere(JobplaneError):
    """A module of handlers cannot be imported."""


def import_handlers(modules: Sequence[str]) -> None:
    """Import modules that declare handlers, also from the current directory.

    Raises:
        ModuleNotThere: there is no such module.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # at the end: a file of that directory must not stand for an installed module
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
                raise
            raise ModuleNotThere(
                f"there is no module {name!r} here: name it as in an import (my.module), where it can be imported from"
            ) from None


def run(modules: Sequence[str], settings: WorkerSettings) -> None:
    """Run the handlers of these modules until SIGTERM or SIGINT."""
    try:
        import_handlers(modules)
        handlers = dict(HANDLERS)
    except JobplaneError as error:
        sys.stderr.write(f"worker: {error}\n")
        raise SystemExit(1) from None
    main = partial(work, settings, handlers)
    process.run(
        main, "worker", settings.instance, settings.log_level, main_s=max(WITHDRAW_S, settings.worker_drain_s) + END_S
    )
