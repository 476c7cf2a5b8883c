"""Measure `jobplane up` on this machine: seconds to ready (cold and warm), memory and CPU of the idle platform.

`python tools/footprint.py [STARTS] [IDLE_SECONDS]`; run it on a machine that does nothing else.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

JOBPLANE = Path(sys.executable).with_name("jobplane")
_SETTLE_S = 15


def start(directory: Path) -> tuple[subprocess.Popen[bytes], float]:
    """Start on this data directory; returns the process and the seconds until it was ready."""
    ready = directory / "ready"
    ready.unlink(missing_ok=True)
    command: list[str | Path] = [JOBPLANE, "up", "--data", directory / "data", "--port", "0", "--ready-file", ready]
    began = time.monotonic()
    with (directory / "up.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    while not ready.exists():
        if process.poll() is not None:
            sys.exit((directory / "up.log").read_text())
        time.sleep(0.01)
    return process, time.monotonic() - began


def stop(process: subprocess.Popen[bytes]) -> float:
    """Ctrl-C; returns the seconds until everything was gone."""
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.wait()
    return time.monotonic() - began


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """It and everything below it."""
    top = psutil.Process(process.pid)
    return [top, *top.children(recursive=True)]


def idle(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Print memory (proportional share) and CPU of every process, and their sums."""
    time.sleep(_SETTLE_S)
    before = {one.pid: sum(one.cpu_times()[:2]) for one in tree(process)}
    time.sleep(seconds)
    total_mb = total_percent = 0.0
    rows: dict[str, tuple[float, float]] = {}
    for one in tree(process):
        percent = (sum(one.cpu_times()[:2]) - before.get(one.pid, 0.0)) / seconds * 100
        megabytes = one.memory_full_info().pss / 1e6
        total_mb, total_percent = total_mb + megabytes, total_percent + percent
        name = one.name()
        rows[name] = (rows.get(name, (0, 0))[0] + megabytes, rows.get(name, (0, 0))[1] + percent)
    for name, (megabytes, percent) in rows.items():
        sys.stdout.write(f"  {name:<16} {megabytes:6.1f} MB {percent:6.2f} %\n")
    sys.stdout.write(f"idle: {total_mb:.0f} MB PSS, {total_percent:.2f} % of one core\n")


def main() -> None:
    """Cold and warm starts in turn, then one idle platform."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0  # noqa: PLR2004 - the second argument
    cold: list[float] = []
    warm: list[float] = []
    ends: list[float] = []
    directory = Path(tempfile.mkdtemp(prefix="jobplane-footprint-"))
    try:
        for _ in range(starts):
            shutil.rmtree(directory / "data", ignore_errors=True)
            for taken in (cold, warm):
                process, took = start(directory)
                taken.append(took)
                ends.append(stop(process))
        for name, values in (("cold start", cold), ("warm start", warm), ("stop", ends)):
            spread = f"{min(values):.1f} to {max(values):.1f}"
            sys.stdout.write(f"{name}: {statistics.median(values):.1f} s (median of {len(values)}, {spread})\n")
        process, _ = start(directory)
        idle(process, seconds)
        stop(process)
        sys.stdout.write(f"load of the machine meanwhile: {os.getloadavg()[0]:.1f}\n")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
