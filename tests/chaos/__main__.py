"""`python -m tests.chaos`: break a platform in every way it promises to survive, and say what was wrong."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.chaos import report
from tests.chaos.act import Result, Scenario
from tests.chaos.rounds import Round, result_of
from tests.chaos.scenarios import SCENARIOS

_OWN_MOUNTS: Final = "CHAOS_OWN_MOUNTS"


def main() -> None:
    """Exit 1 if any invariant or promise was broken."""
    asked = _arguments()
    if asked.summary:
        results = [result_of(told) for file in asked.summary for told in json.loads(Path(file).read_text())]
        sys.stdout.write(report.text(results) + "\n")
        _write(asked.markdown, results)
        return
    if asked.list:
        sys.stdout.write(report.promises(SCENARIOS.values()) + "\n")
        return
    _take_own_mounts()
    chosen = _chosen(asked.scenario)
    results = list(Round(chosen, _seeds(asked), asked.minutes, asked.parallel, Path(asked.directory)).results())
    sys.stdout.write("\n" + report.text(results) + "\n")
    _write(asked.markdown, results)
    if asked.json:
        Path(asked.json).write_text(json.dumps(report.plain(results), indent=1) + "\n")
    sys.exit(any(result.violations for result in results))


def _write(page: str | None, results: Sequence[Result]) -> None:
    if page is not None:
        Path(page).write_text(report.update(Path(page).read_text(), results, SCENARIOS.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--scenario", action="append", default=[], help="its name; may be repeated, or have commas")
    parser.add_argument("--seed", type=int, default=1, help="what happens when: the same for the same seed")
    parser.add_argument("--seeds", metavar="A..B", help="several seeds, one round each")
    parser.add_argument("--parallel", type=int, default=1, help="so many runs side by side")
    parser.add_argument("--minutes", type=float, help="begin no run after so many minutes")
    parser.add_argument("--list", action="store_true", help="show every scenario and what it asserts")
    parser.add_argument("--markdown", metavar="FILE", help="renew the tables of a page (docs/reliability.md)")
    parser.add_argument("--json", metavar="FILE", help="write the results")
    parser.add_argument("--summary", metavar="FILE", nargs="+", help="only show one table of earlier --json files")
    parser.add_argument("--directory", default=tempfile.gettempdir(), help="where failed runs are kept")
    return parser.parse_args()


def _chosen(names: Sequence[str]) -> list[Scenario]:
    wanted = [name for several in names for name in several.split(",")] or list(SCENARIOS)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        sys.exit(f"no such scenario: {', '.join(unknown)} (--list shows them)")
    return [SCENARIOS[name] for name in wanted]


def _seeds(asked: argparse.Namespace) -> range:
    if not asked.seeds:
        return range(asked.seed, asked.seed + 1)
    first, _, last = asked.seeds.partition("..")
    return range(int(first), int(last) + 1)


def _take_own_mounts() -> None:
    """Begin again where mounts are our own and vanish with us, if this machine allows that."""
    if os.environ.get(_OWN_MOUNTS) or os.geteuid() != 0 or shutil.which("unshare") is None:
        return
    prefix = ["unshare", "--mount", "--propagation", "private", "--"]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0:
        command = [*prefix, sys.executable, "-m", "tests.chaos", *sys.argv[1:]]
        os.execvpe(command[0], command, os.environ | {_OWN_MOUNTS: "1"})


if __name__ == "__main__":
    main()
