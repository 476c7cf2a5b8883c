"""`python -m tests.simulation`: live through seeds, and say what was wrong."""

import argparse
import sys

from tests.simulation import runs


def main() -> None:
    """Exit 1 if an invariant was broken."""
    asked = _arguments()
    first, _, last = (asked.seeds or f"{asked.seed}..{asked.seed}").partition("..")
    seeds = range(int(first), int(last or first) + 1)
    summary = runs.run(seeds, processes=asked.parallel, patience_s=60 * asked.minutes)
    for verdict in summary.broken:
        wrong = "\n  ".join(verdict.violations)
        sys.stdout.write(f"seed {verdict.seed}:\n  {wrong}\n{runs.replay(verdict.seed)}\n")
    if asked.trace:
        told = summary.broken[0].seed if summary.broken else seeds[0]
        sys.stdout.write(f"{runs.story(told)}\n")
    else:
        sys.stdout.write(f"{summary.text()}\n")
    sys.exit(bool(summary.broken))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="one whole history")
    parser.add_argument("--seeds", metavar="A..B", help="many of them; ends with the first that is broken")
    parser.add_argument("--trace", action="store_true", help="tell who did what, in order")
    parser.add_argument("--parallel", type=int, help="on so many processors (all)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin none after so many minutes")
    return parser.parse_args()


if __name__ == "__main__":
    main()
