"""Run every check that needs no server, side by side, and show the output of those that fail."""

import concurrent.futures
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
MEMBERS = sorted(
    path.parent for part in ("libs", "services", "workloads") for path in (ROOT / part).glob("*/pyproject.toml")
)

CHECKS: dict[str, list[str]] = {
    "types": ["mypy", "libs", "services", "workloads", "tests", "tools"],
    "lint": ["ruff", "check", "--quiet", "."],
    "format": ["ruff", "format", "--check", "--quiet", "."],
    "layering": ["lint-imports", "--no-logo"],
    "compose": ["compose-lint", "docker-compose.yml"],
} | {
    f"dependencies of {member.name}": [
        "deptry",
        "--no-ansi",
        str(member.relative_to(ROOT) / "src"),
        "--config",
        str(member / "pyproject.toml"),
    ]
    for member in MEMBERS
}


def run(name: str) -> tuple[str, int, str, float]:
    """One check: its name, exit code, output and seconds."""
    program, *arguments = CHECKS[name]
    started = time.monotonic()
    done = subprocess.run(
        [BIN / program, *arguments],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    return name, done.returncode, done.stdout.strip(), time.monotonic() - started


def main() -> None:
    """Exit 1 if any check fails."""
    started = time.monotonic()
    failed = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name, code, output, seconds in pool.map(run, CHECKS):
            if code:
                failed.append(name)
                sys.stdout.write(f"\n✗ {name} ({seconds:.1f} s)\n{output}\n")
    verdict = f"failed: {', '.join(failed)}" if failed else "all green"
    sys.stdout.write(f"check: {verdict} ({len(CHECKS)} checks, {time.monotonic() - started:.1f} s)\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
