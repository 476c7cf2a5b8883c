"""Data directories of platforms that are kept between measurements, and their database without the platform."""

import json
import logging
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import structlog

from jobplane.local import postgres
from jobplane.local.ports import LOOPBACK
from tests.support.platform import Platform

KEPT: Final = Path("/var/tmp/jobplane-scale")
"""Where data is that takes long to make."""
_SUPERUSER_PASSWORD = "postgres_password"

_TERMINATED = 143


class Ground:
    """A platform with so many jobs, below one directory."""

    def __init__(self, directory: Path, jobs: int) -> None:
        self.jobs = jobs
        self.platform = Platform(directory / f"{jobs}", ("--workers", "0"))

    def prepare(self) -> None:
        """Make an empty platform, unless there is one."""
        if not (self.platform.data / "credentials.json").exists():
            self.platform.start()
            self.platform.stop()

    @contextmanager
    def database(self) -> Iterator["Ground"]:
        """PostgreSQL alone, as `jobplane up` starts it."""
        known = self._known()
        server = postgres.start(
            self.platform.data / "postgres",
            port=known["ports"]["postgres"],
            password=known[_SUPERUSER_PASSWORD],
            log=self.platform.data / "logs" / "postgres.log",
        )
        server.wait_ready()
        try:
            yield self
        finally:
            server.stop(timeout_s=120)

    @property
    def figures(self) -> dict[str, float]:
        """What was measured here so far."""
        file = self._figures
        return json.loads(file.read_text()) if file.exists() else {}

    def note(self, figures: Mapping[str, float]) -> None:
        """Keep figures; those of the same names are replaced."""
        self._figures.write_text(json.dumps(self.figures | dict(figures), indent=1) + "\n")

    @property
    def _figures(self) -> Path:
        return self.platform.directory / "figures.json"

    def url(self, service: str) -> str:
        """The database as the role of a service."""
        known = self._known()
        role = f"jobplane_{service}"
        return postgres.url(role, known["roles"][role], f"{LOOPBACK}:{known['ports']['postgres']}", "jobplane")

    def superuser(self) -> psycopg.Connection[Any]:
        """A look behind the scenes."""
        known = self._known()
        address = f"{LOOPBACK}:{known['ports']['postgres']}"
        url = postgres.url(postgres.SUPERUSER, known[_SUPERUSER_PASSWORD], address, "jobplane")
        return psycopg.connect(url, autocommit=True)

    def _known(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.platform.data / "credentials.json").read_text())
        return found


def tell(text: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def prepare_process() -> None:
    """Errors only in the log; a TERM ends this process as an exception does, so that servers are ended, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR), processors=[plain])
