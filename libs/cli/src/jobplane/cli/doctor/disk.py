"""Room and speed of the disk, and how much the servers keep on theirs."""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from jobplane.cli.doctor.asking import api
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Servers
from jobplane.contracts.topology import GIB, MIB

_AREA: Final = Area("disk")
_WARN_FREE_BYTES: Final = 2 * GIB
_FAIL_FREE_BYTES: Final = 256 * MIB
"""With less `jobplane up` does not start."""
_WARN_FREE_PERCENT: Final = 5.0
_SLOW_MS: Final = 50.0
_VERY_SLOW_MS: Final = 500.0
_WRITES: Final = 5


async def check(servers: Servers) -> list[Finding]:
    """The disk of the data directory, then the servers'."""
    root = servers.site.data.root
    found = [free(root.name, *_usage(root)), *_writing(root)] if root.is_dir() else []
    found += await _jetstream(servers)
    return [*found, *await _database(servers)]


def _usage(root: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(root)
    return usage.free, usage.total


def free(name: str, free_bytes: int, total_bytes: int) -> Finding:
    """Room that is left."""
    percent = 100 * free_bytes / total_bytes
    says = f"{free_bytes / GIB:,.1f} of {total_bytes / GIB:,.1f} GiB are free ({percent:.0f} %)"
    advice = f"Free some space on the disk of {name}, or move the data directory: both servers stop when it is full."
    if free_bytes < _FAIL_FREE_BYTES:
        return _AREA.failure("free space", says, advice)
    if free_bytes < _WARN_FREE_BYTES or percent < _WARN_FREE_PERCENT:
        return _AREA.warning("free space", says, advice)
    return _AREA.ok("free space", says)


def _writing(root: Path) -> list[Finding]:
    try:
        took_ms = _write_ms(root)
    except OSError as error:
        advice = "Make the directory writable for its owner: both servers write there."
        return [_AREA.failure("writing", f"{root} cannot be written: {error.strerror}", advice)]
    return [writing(took_ms)]


def writing(took_ms: float) -> Finding:
    """Whether the disk is quick enough: every commit waits for it."""
    advice = "Use a faster disk, or see who else writes to it: every commit waits for it."
    says = f"a durable write takes {took_ms:.1f} ms"
    return _AREA.measured("writing", took_ms, says, advice, warn=_SLOW_MS, fail=_VERY_SLOW_MS)


def _write_ms(root: Path) -> float:
    """The median of some writes to a file without a name, which is gone afterwards."""
    took = []
    with tempfile.TemporaryFile(dir=root) as file:
        for _ in range(_WRITES):
            begun = time.perf_counter()
            file.write(os.urandom(4096))
            file.flush()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


async def _jetstream(servers: Servers) -> list[Finding]:
    if isinstance(servers.nc, str):
        return []
    account = await api(servers.bus, "INFO")
    return [jetstream(account.get("storage", 0), account.get("limits", {}).get("max_storage", -1))]


def jetstream(used: int, limit: int) -> Finding:
    """How full JetStream's storage is, where it has a limit."""
    if limit <= 0:
        return _AREA.ok("jetstream", f"{used / MIB:,.1f} MiB are used")
    percent = 100 * used / limit
    says = f"{used / MIB:,.1f} of {limit / MIB:,.0f} MiB are used ({percent:.0f} %)"
    advice = "Raise max_file_store or the account's limit: JetStream refuses to store more when it is reached."
    return _AREA.measured("jetstream", percent, says, advice, warn=80.0, fail=95.0)


async def _database(servers: Servers) -> list[Finding]:
    if servers.any is None:
        return []
    row = await servers.row(servers.any, "SELECT pg_database_size(current_database())")
    return [_AREA.ok("postgres", f"the database takes {row[0] / MIB:,.1f} MiB")]
