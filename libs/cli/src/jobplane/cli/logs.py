"""`jobplane logs`: what the processes of this machine wrote."""

import json
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from jobplane.cli.failures import Exit, Failed
from jobplane.cli.target import DEFAULT_DATA, DataOption
from jobplane.local.data_dir import DataDirectory

_POLL_S: Final = 0.2
_SHOWN_FIRST: Final = ("at", "level", "service", "instance", "event")
_HIDDEN: Final = frozenset({*_SHOWN_FIRST, "trace_id", "span_id"})

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="jobs, audit, health, gateway, worker-1, nats, postgres … (all)."),
]


def logs(
    names: NamesArgument = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Lines of each file to begin with.")] = 20,
    raw: Annotated[bool, typer.Option("--json", help="Lines as they are in the files.")] = False,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Show the logs of the processes that `jobplane up` runs here.

    Examples:

        jobplane logs jobs --follow

        jobplane logs worker-1 worker-2 -n 100
    """
    directory = DataDirectory(data.absolute()).logs
    known = sorted(file.stem for file in directory.glob("*.log")) if directory.is_dir() else []
    if not known:
        message = f"There are no logs in {directory}: run `jobplane up` first, or name its --data directory."
        raise Failed(message, Exit.UNREACHABLE)
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        message = f"There is no log of {', '.join(unknown)}; there are: {', '.join(known)}."
        raise Failed(message, Exit.NOT_FOUND)
    tails = [_Tail(name, directory / f"{name}.log") for name in names or known]
    wide = max(len(tail.name) for tail in tails)
    for tail in tails:
        for line in tail.last(lines):
            typer.echo(line if raw else f"{tail.name:<{wide}}  {readable(line)}")
    while follow:
        time.sleep(_POLL_S)
        for tail in tails:
            for line in tail.fresh():
                typer.echo(line if raw else f"{tail.name:<{wide}}  {readable(line)}")


def readable(line: str) -> str:
    """A JSON line for people; any other line as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    clock = str(entry.get("at", ""))[11:23]
    rest = " ".join(f"{name}={value}" for name, value in entry.items() if name not in _HIDDEN)
    return f"{clock} {entry.get('level', ''):<7} {entry.get('event', '')} {rest}".rstrip()


@dataclass(slots=True)
class _Tail:
    """The end of one growing file."""

    name: str
    path: Path
    _file: IO[str] | None = field(default=None)
    _partial: str = ""

    def last(self, count: int) -> list[str]:
        """The last lines that are there now."""
        return list(deque(self.fresh(), maxlen=count))

    def fresh(self) -> list[str]:
        """Whole lines written since the last call."""
        if self._file is None:
            self._file = self.path.open(errors="replace")
        text = self._partial + self._file.read()
        *whole, self._partial = text.split("\n")
        return whole
