"""Settings that can be read and do not contradict each other, and secrets that only their owner can read."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from jobplane.audit.settings import AuditSettings
from jobplane.cli.doctor.finding import Area, Finding
from jobplane.gateway.settings import GatewaySettings
from jobplane.health.settings import HealthSettings
from jobplane.images.settings import ImageSettings
from jobplane.jobs.settings import Settings as JobsSettings
from jobplane.local.data_dir import DataDirectory
from jobplane.worker.settings import WorkerSettings

_AREA: Final = Area("configuration")
_SETTINGS: Final[tuple[type[BaseSettings], ...]] = (
    AuditSettings,
    GatewaySettings,
    HealthSettings,
    ImageSettings,
    JobsSettings,
    WorkerSettings,
)
_PREFIX: Final = "JOBPLANE_"
_COMMAND_LINE: Final = frozenset({"DATA", "URL", "PASSWORD", "PORT", "WORKERS"})
"""Variables of the command line, and of containers that name them so."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def check(data: DataDirectory, environment: Mapping[str, str]) -> list[Finding]:
    """Everything that needs no server."""
    try:
        found = list(_files(data))
        contradictions = list(_contradictions(data, environment))
    except OSError as error:
        says = f"{error.filename or data.root} cannot be looked at: {error.strerror}"
        advice = "Run this as the person who ran `jobplane up`."
        return [_AREA.failure("data directory", says, advice), *_variables(environment)]
    return [*found, *_variables(environment), *(contradictions or [_AREA.ok("servers", "nothing contradicts")])]


def _files(data: DataDirectory) -> Iterator[Finding]:
    if not data.root.is_dir():
        yield _AREA.ok(
            "data directory", f"{data.root} does not exist: the servers are others' (DATABASE_URL, NATS_URL)"
        )
        return
    secret = [data.credentials, data.connection, data.worker_connection, data.nats_users, data.root / "token.json"]
    secret += [data.root / "producer.json", data.nats / "nats-server.conf"]
    wrong = [path for path in (data.root, *secret) if path.exists() and _open_to_others(path)]
    for path in wrong:
        mode = "700" if path.is_dir() else "600"
        yield _AREA.failure(
            f"mode of {path.name}",
            f"others may read {path} ({stat.filemode(path.stat().st_mode)})",
            f"Take that away (chmod {mode} {path}), and consider its secrets as known: new ones need a new directory.",
        )
    foreign = [path for path in (data.root, *secret) if path.exists() and path.stat().st_uid != os.getuid()]
    for path in foreign:
        yield _AREA.warning(
            f"owner of {path.name}",
            f"{path} belongs to user {path.stat().st_uid}, you are {os.getuid()}",
            "Run `jobplane` always as the person who owns the data directory.",
        )
    if not wrong and not foreign:
        yield _AREA.ok("data directory", f"{data.root}: only its owner can read it and its secrets")


def _open_to_others(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)


def _variables(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that are misspelt or have values that a process would refuse; values are never shown."""
    ours = {name.removeprefix(_PREFIX): value for name, value in environment.items() if name.startswith(_PREFIX)}
    known = {field.upper() for cls in _SETTINGS for field in cls.model_fields}
    unknown = sorted(ours.keys() - known - _COMMAND_LINE)
    for name in unknown:
        yield _AREA.warning(
            "settings",
            f"nobody reads {_PREFIX}{name}",
            "Correct its name or remove it: docs/operations.md lists all settings.",
        )
    refused = sorted({fault for cls in _SETTINGS for fault in _refused(cls, ours)})
    for name, why in refused:
        yield _AREA.failure("settings", f"{_PREFIX}{name} is invalid: {why}", "Correct it: the process will not start.")
    if not unknown and not refused:
        says = f"the {len(ours)} variables that begin with {_PREFIX} can be read" if ours else "no variable is set"
        yield _AREA.ok("settings", says)


def _refused(cls: type[BaseSettings], values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables of a process that it would not take, and why; what else it needs is told to it by `up`."""
    given = {field: values[field.upper()] for field in cls.model_fields if field.upper() in values}
    try:
        cls.__pydantic_validator__.validate_python(given)
    except ValidationError as error:
        for fault in error.errors(include_input=False):
            field = str(fault["loc"][0]) if fault["loc"] else ""
            if field in given:
                yield field.upper(), str(fault["msg"])


def _contradictions(data: DataDirectory, environment: Mapping[str, str]) -> Iterator[Finding]:
    for variable, server, place in (
        ("DATABASE_URL", "database", data.postgres),
        ("NATS_URL", "bus", data.nats / "store"),
    ):
        if environment.get(variable) and place.is_dir():
            says = f"{variable} is set, but {data.root} has a {server} of its own"
            yield _AREA.warning("servers", says, "Unset it, or use another --data directory: one of them is unused.")
    libpq = sorted(name for name in environment if name.startswith("PG") and name != "PG_BINDIR")
    if libpq and environment.get("DATABASE_URL"):
        says = f"{', '.join(libpq)} also tell how to reach the database"
        yield _AREA.warning("servers", says, "Put it into DATABASE_URL and unset these: they change what it means.")
    if environment.get("JOBPLANE_URL"):
        says = "JOBPLANE_URL is set: other commands speak to that platform, this one looks at the data directory"
        yield _AREA.warning("servers", says, "Unset it if you mean the platform of this machine.")
    if "*" in environment.get("FORWARDED_ALLOW_IPS", ""):
        says = "FORWARDED_ALLOW_IPS believes every address"
        yield _AREA.warning("proxies", says, "Name your proxies: anybody can forge the addresses in the audit log.")
