"""Which processes make up the platform, and what each is told."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from jobplane.local.addresses import Addresses
from jobplane.local.credentials import role_of
from jobplane.local.data_dir import DataDirectory

WORKER_MODULES: Final = "jobplane.images"
PRELOAD: Final = (
    "jobplane.jobs.__main__",
    "jobplane.audit.__main__",
    "jobplane.health.__main__",
    "jobplane.gateway.__main__",
    "jobplane.worker.__main__",
    WORKER_MODULES,
)
_NOT_FOR_CHILDREN: Final = frozenset({"DATABASE_URL", "NATS_URL", "JOBPLANE_ADMIN_PASSWORD"})
_DRAIN_S: Final = "2.2"
"""What a worker gets to finish its runs, so that everything ends within five seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    data: Path
    port: int = 8080
    workers: int = 2
    ready_file: Path | None = None
    demo: Path | None = None
    """A folder of pictures to turn into jobs once everything is ready."""
    builtin_demo: bool = False
    """The same with pictures that a package brings."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process of the platform."""

    name: str
    module: str
    environment: Mapping[str, str]
    probe_port: int | None = None
    """Answers `/readyz`; without one the process counts as ready when it runs."""
    edge: bool = False
    """Stopped first: it needs the services behind it to finish its work."""


@dataclass(frozen=True, slots=True)
class Site:
    """What all children have in common."""

    data: DataDirectory
    addresses: Addresses
    ports: Mapping[str, int]
    http_port: int
    local_password: str
    admin_password: str | None


def setup_environment(site: Site, *, create_from: str) -> dict[str, str]:
    """What prepares the database is told; it alone knows the administrator and the owner."""
    return _environment(
        {
            "JOBPLANE_SETUP_DATABASE_URL": site.addresses.database,
            "JOBPLANE_SETUP_CREATE": create_from,
            "JOBPLANE_SETUP_ROLES": json.dumps(dict(site.addresses.roles)),
        }
    )


def demo_child(site: Site, folder: Path | None) -> Child:
    """Turns pictures into jobs through the gateway, then ends."""
    told = {"JOBPLANE_DEMO_DATA": str(site.data.root)}
    if folder is not None:
        told["JOBPLANE_DEMO_FOLDER"] = str(folder.absolute())
    return Child("demo", "jobplane.cli.demo", _environment(told))


def services(site: Site) -> list[Child]:
    """The four services; each knows only its own roles and users."""
    nats = site.addresses.nats_as
    jobs = {
        "JOBPLANE_INTAKE_NATS_URL": nats("jobs-intake"),
        "JOBPLANE_RELAY_NATS_URL": nats("jobs-relay"),
        "JOBPLANE_TOPOLOGY_NATS_URL": nats("topology"),
    }
    gateway = {
        "JOBPLANE_RELAY_NATS_URL": nats("gateway-relay"),
        "JOBPLANE_ANSWERS_NATS_URL": nats("gateway-answers"),
        "JOBPLANE_TOPOLOGY_NATS_URL": nats("topology"),
        "JOBPLANE_HTTP_PORT": str(site.http_port),
        "JOBPLANE_LOCAL_PASSWORD": site.local_password,
        "JOBPLANE_OBJECT_STORE_URL": site.data.assets.as_uri(),
    }
    if site.admin_password is not None:
        gateway["JOBPLANE_ADMIN_PASSWORD"] = site.admin_password
    return [
        _service(site, "jobs", jobs),
        _service(site, "audit", {"JOBPLANE_READER_NATS_URL": nats("audit-reader")}),
        _service(site, "health", {"JOBPLANE_READER_NATS_URL": nats("health-reader")}),
        replace(_service(site, "gateway", gateway), probe_port=site.http_port, edge=True),
    ]


def workers(site: Site, count: int) -> list[Child]:
    """Worker processes that run the example workload."""
    told = {
        "JOBPLANE_NATS_URL": site.addresses.nats_as("worker"),
        "JOBPLANE_OBJECT_STORE_URL": site.data.assets.as_uri(),
        "JOBPLANE_WORKER_MODULES": WORKER_MODULES,
        "JOBPLANE_WORKER_DRAIN_S": _DRAIN_S,
    }
    return [
        Child(name, "jobplane.worker.__main__", _environment(told | {"JOBPLANE_INSTANCE": name}), edge=True)
        for name in (f"worker-{number}" for number in range(1, count + 1))
    ]


def _service(site: Site, name: str, more: Mapping[str, str]) -> Child:
    told = {
        "JOBPLANE_INSTANCE": f"{name}-1",
        "JOBPLANE_DATABASE_URL": site.addresses.database_as(role_of(name)),
        "JOBPLANE_NATS_URL": site.addresses.nats_as(name),
        "JOBPLANE_PROBE_PORT": str(site.ports[name]),
    }
    return Child(name, f"jobplane.{name}.__main__", _environment(told | dict(more)), probe_port=site.ports[name])


def _environment(told: Mapping[str, str]) -> dict[str, str]:
    """Ours, without what only we may know, and without libpq's variables where the database is the embedded one."""
    embedded = not os.environ.get("DATABASE_URL")
    ours = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_FOR_CHILDREN and not (embedded and name.startswith("PG"))
    }
    return ours | dict(told)
