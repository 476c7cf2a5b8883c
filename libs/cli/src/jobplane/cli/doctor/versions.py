"""Whether interpreter, servers, schemas and the data directory are of versions that fit this program."""

import sys
from typing import Final

from jobplane.chassis import migrations
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.cli.doctor.servers import Servers
from jobplane.local.credentials import FORMAT, SERVICES

_AREA: Final = Area("versions")
_PYTHON: Final = (3, 11)
_POSTGRES: Final = 16
_NATS: Final = (2, 12)
"""The first with atomic batches, which the relay publishes with."""


async def check(servers: Servers) -> list[Finding]:
    """All versions."""
    known = servers.site.credentials
    layouts = [layout(known.format, FORMAT)] if known is not None else []
    found = [python(sys.version_info[:3]), *await _postgres(servers), *_nats(servers), *layouts]
    return [*found, *[await _schema(servers, service) for service in SERVICES if servers.has(service)]]


def python(version: tuple[int, ...]) -> Finding:
    """Of the interpreter that runs this."""
    says = ".".join(map(str, version))
    if version[:2] < _PYTHON:
        return _AREA.failure("python", says, "Install Python 3.11 or newer.")
    return _AREA.ok("python", says)


async def _postgres(servers: Servers) -> list[Finding]:
    if servers.any is None:
        return []
    row = await servers.row(
        servers.any,
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,"
        " current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit')",
    )
    return [postgres(row[0], row[1]), durability(row[2], row[3], row[4])]


def postgres(text: str, major: int) -> Finding:
    """Of the database server."""
    if major < _POSTGRES:
        return _AREA.failure("postgres", text, f"Upgrade to PostgreSQL {_POSTGRES} or newer: nothing older is tested.")
    return _AREA.ok("postgres", text)


def durability(fsync: str, full_page_writes: str, synchronous_commit: str) -> Finding:
    """Whether what is committed survives a power cut."""
    off = [name for name, value in (("fsync", fsync), ("full_page_writes", full_page_writes)) if value == "off"]
    off += ["synchronous_commit"] if synchronous_commit == "off" else []
    if off:
        says = f"{', '.join(off)} off: a power cut loses answered commands"
        return _AREA.failure("durability", says, "Switch it on in postgresql.conf: the journal is the truth.")
    return _AREA.ok("durability", "what is committed is on disk")


def _nats(servers: Servers) -> list[Finding]:
    if isinstance(servers.nc, str):
        return []
    version = servers.nc.connected_server_version
    return [nats((version.major, version.minor, version.patch))]


def nats(version: tuple[int, int, int]) -> Finding:
    """Of the bus."""
    says = ".".join(map(str, version))
    if version[:2] < _NATS:
        return _AREA.failure(
            "nats-server", says, "Upgrade to nats-server 2.12 or newer: the relay needs atomic batches."
        )
    return _AREA.ok("nats-server", says)


def layout(found: int, written: int) -> Finding:
    """Of the data directory, beside what this program writes; a newer one was refused before."""
    if found < written:
        says = f"layout {found}, this program writes {written}"
        return _AREA.warning("data directory", says, "The next `jobplane up` upgrades it: back it up before.")
    return _AREA.ok("data directory", f"layout {found}")


async def _schema(servers: Servers, service: str) -> Finding:
    known = migrations.revisions(service)
    present = await servers.row(service, "SELECT to_regclass('alembic_version') IS NOT NULL")
    row = await servers.row(service, "SELECT version_num FROM alembic_version") if present[0] else ()
    return schema(service, str(row[0]) if row else None, known)


def schema(service: str, current: str | None, known: list[str]) -> Finding:
    """Of one service's tables, beside what this program was written for."""
    name = f"schema {service}"
    if current is None:
        return _AREA.failure(name, "has no tables yet", "Run `jobplane up` once: it migrates.")
    if current not in known:
        says = f"at {current}, which this program does not know"
        return _AREA.failure(name, says, "Install the version of Jobplane that wrote it, or a newer one.")
    if current != known[-1]:
        says = f"at {current}, this program needs {known[-1]}"
        return _AREA.failure(name, says, "Restart the platform with this version: it migrates at its start.")
    return _AREA.ok(name, current)
