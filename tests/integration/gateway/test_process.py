"""The gateway as a process: how it starts, fails to start, and ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from jobplane.local.ports import free_port
from tests.integration.gateway.conftest import ADMIN_PASSWORD
from tests.support.servers import Bus, Database
from tests.support.waiting import eventually_sync


class Process:
    """One gateway process."""

    def __init__(self, bus: Bus, database: Database, directory: Path) -> None:
        self.port = free_port()
        self.variables = {
            "JOBPLANE_INSTANCE": "gateway-1",
            "JOBPLANE_NATS_URL": bus.url("gateway"),
            "JOBPLANE_RELAY_NATS_URL": bus.url("gateway-relay"),
            "JOBPLANE_ANSWERS_NATS_URL": bus.url("gateway-answers"),
            "JOBPLANE_TOPOLOGY_NATS_URL": bus.url("topology"),
            "JOBPLANE_DATABASE_URL": database.url("gateway"),
            "JOBPLANE_OBJECT_STORE_URL": f"file://{directory}/objects",
            "JOBPLANE_HTTP_PORT": str(self.port),
            "JOBPLANE_ADMIN_PASSWORD": ADMIN_PASSWORD,
        }
        self.running: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> subprocess.Popen[str]:
        """Begin; whether it comes up is another question."""
        self.running = subprocess.Popen(
            [sys.executable, "-m", "jobplane.gateway"],
            env={"PATH": os.environ["PATH"]} | self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.running

    def ready(self) -> bool:
        """Whether it answers that it is."""
        try:
            return httpx2.get(f"{self.url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False


@pytest.fixture
def process(bus: Bus, database: Database, tmp_path: Path) -> Iterator[Process]:
    started = Process(bus, database, tmp_path)
    yield started
    if started.running is not None:
        started.running.kill()
        started.running.communicate()


def test_it_ends_within_seconds_although_somebody_follows_the_live_stream(process: Process) -> None:
    running = process.start()
    eventually_sync(process.ready, timeout=30)
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    token = httpx2.post(f"{process.url}/api/admin/token", json=body).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx2.stream("GET", f"{process.url}/api/admin/live", headers=headers) as live:
        lines = live.iter_lines()
        assert next(lines) == "retry: 2000"
        running.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert ": the server is going away, resume in a moment" in list(lines)
    assert running.wait(10) == 0
    assert time.monotonic() - asked < 5


def test_a_taken_port_is_one_plain_sentence(process: Process) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", process.port))
        taken.listen()
        running = process.start()
        _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert said == f"gateway: Cannot listen on 127.0.0.1:{process.port}: address already in use.\n"


def test_without_an_account_and_a_password_for_one_it_says_what_to_set(process: Process) -> None:
    del process.variables["JOBPLANE_ADMIN_PASSWORD"]
    running = process.start()
    _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert said.count("\n") == 1
    assert "JOBPLANE_ADMIN_PASSWORD" in said


def test_a_first_password_that_is_too_short_is_one_plain_sentence(process: Process) -> None:
    process.variables["JOBPLANE_ADMIN_PASSWORD"] = "short"
    running = process.start()
    _, said = running.communicate(timeout=30)
    assert running.returncode == 1
    assert said == "gateway: JOBPLANE_ADMIN_PASSWORD cannot be used: A password has 8 to 1024 characters.\n"


def test_a_missing_variable_is_named(process: Process) -> None:
    del process.variables["JOBPLANE_OBJECT_STORE_URL"]
    running = process.start()
    _, said = running.communicate(timeout=30)
    assert running.returncode == 2
    assert said.startswith("JOBPLANE_OBJECT_STORE_URL is not set")
