"""`python -m tests.bench`: measure, show, keep, compare."""

import argparse
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog
from rich.console import Console

from tests.bench import catalogue, suite, table
from tests.bench.figures import Run, compare
from tests.bench.site import Scale, Site

_PAGE = 140


def main() -> None:
    """See `--help`; exits 1 when a measurement failed, never because something is slow."""
    arguments = _parser().parse_args()
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PAGE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are ended, too
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40), processors=[plain])
    run = Run.read(arguments.show) if arguments.show else _measured(arguments)
    if arguments.markdown:
        sys.stdout.write(table.markdown(run))
    else:
        table.show(run, console)
    if arguments.compare:
        table.show_comparison(compare(run, Run.read(arguments.compare)), console)
    sys.exit(not arguments.show and any(why.startswith("failed") for why in run.skipped.values()))


def _measured(arguments: argparse.Namespace) -> Run:
    """All that was to be measured, and what the file had already; written after each bench, so nothing is lost."""
    try:
        benches = suite.chosen(arguments.only, peers=arguments.peers)
    except LookupError as error:
        there_are = ", ".join(bench.name for bench in suite.chosen([], peers=True))
        sys.exit(f"nothing is called {error.args[0]}: there are {there_are}")
    status = Console(stderr=True, highlight=False)
    site, scale = Site(arguments.peer_python), Scale(arguments.quick, arguments.repetitions)
    older = Run.read(arguments.json) if arguments.json and arguments.json.exists() else None
    *_, last = _kept(suite.run(benches, site, scale, lambda word: status.print(f"measuring {word}")), arguments, older)
    return last


def _kept(runs: Iterator[Run], arguments: argparse.Namespace, older: Run | None) -> Iterator[Run]:
    for run in runs:
        whole = catalogue.in_order(run.onto(older))
        if arguments.json:
            whole.write(arguments.json)
        yield whole


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="just bench", description="Measure the platform here; asserts nothing.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these (or the beginning of names)")
    parser.add_argument("--quick", action="store_true", help="little work, once each: does it run at all?")
    parser.add_argument("--repetitions", type=int, metavar="N", help="of each measurement; usually 1 to 5")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="measure peers, too")
    parser.add_argument("--peer-python", default=sys.executable, metavar="PATH", help="interpreter that has the peers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures; those of a FILE that exists stay")
    parser.add_argument("--show", type=Path, metavar="FILE", help="measure nothing, show what was kept")
    parser.add_argument("--compare", type=Path, metavar="OLD", help="ratios to an older run that was kept")
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/performance.md")
    return parser


if __name__ == "__main__":
    main()
