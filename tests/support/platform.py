"""The whole platform as a person starts it: `jobplane up` as real processes on free ports."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import psutil

from tests.support.waiting import eventually_sync

JOBPLANE = Path(sys.executable).with_name("jobplane")
ADMIN_PASSWORD = "correct horse battery staple"
_START_S = 100.0
_STOP_S = 20.0


class Platform:
    """One data directory and, while it runs, the processes on it."""

    def __init__(self, directory: Path, options: Sequence[str] = ("--workers", "2")) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.ready_file = directory / "ready"
        self.output = directory / "up.log"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str, environment: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it says that it is ready."""
        self.launch(*more, environment=environment)
        eventually_sync(lambda: self.ready_file.exists() or self.process.poll() is not None, timeout=_START_S)
        assert self.process.poll() is None, self.said()

    def launch(self, *more: str, environment: Mapping[str, str] | None = None) -> None:
        """Start it without waiting."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ready_file.unlink(missing_ok=True)
        command: list[str | Path] = [
            JOBPLANE,
            "up",
            "--data",
            self.data,
            "--port",
            "0",
            "--ready-file",
            self.ready_file,
        ]
        variables = os.environ | {"JOBPLANE_ADMIN_PASSWORD": ADMIN_PASSWORD} | dict(environment or {})
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *self._options, *more],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
            )

    @property
    def started(self) -> bool:
        """Whether `jobplane up` was ever run."""
        return self._process is not None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The `jobplane up` process."""
        assert self._process is not None, "it was not started"
        return self._process

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return self.ready_file.read_text().strip()

    @property
    def worker_connection(self) -> dict[str, str]:
        """What a worker of one's own is given: nats_url, object_store_url."""
        connection: dict[str, str] = json.loads((self.data / "worker.json").read_text())
        return connection

    @property
    def producer_url(self) -> str:
        """Of the bus, as the user that enqueues jobs."""
        connection: dict[str, str] = json.loads((self.data / "producer.json").read_text())
        return connection["nats_url"]

    def said(self) -> str:
        """Everything `jobplane up` printed so far."""
        return self.output.read_text()

    def log(self, name: str) -> str:
        """The log of one process."""
        return (self.data / "logs" / f"{name}.log").read_text()

    def pid(self, name: str) -> int:
        """Of `jobs`, `audit`, `health`, `gateway`, `worker-1` …, `nats-server`, `postgres`; waits for one to exist."""
        names = (f"jp-{name}", name)

        def found() -> int:
            children = psutil.Process(self.process.pid).children(recursive=True)
            return next((child.pid for child in children if _name(child) in names), 0)

        return eventually_sync(found)

    def kill(self, name: str, sign: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one process; returns the id it had."""
        pid = self.pid(name)
        os.kill(pid, sign)
        return pid

    def stop(self, sign: signal.Signals = signal.SIGINT) -> int:
        """As Ctrl-C does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(_STOP_S)

    def token(self, username: str = "admin", password: str = ADMIN_PASSWORD) -> str:
        """A bearer token."""
        body = {"username": username, "password": password}
        answer = httpx2.post(f"{self.url}/api/admin/token", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    def client(self) -> httpx2.Client:
        """The REST API as `admin`; close it, or use it as a context manager."""
        return httpx2.Client(
            base_url=f"{self.url}/api/admin", headers={"Authorization": f"Bearer {self.token()}"}, timeout=30
        )

    def command(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a `jobplane` command against this platform."""
        return subprocess.run(
            [JOBPLANE, *arguments, "--data", str(self.data)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **more,
        )


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
