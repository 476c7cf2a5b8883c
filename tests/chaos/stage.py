"""A platform that can be broken: servers of its own behind fault proxies, `jobplane up` on them, and workers."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import nats as nats_client
import psutil
import psycopg
from nats.aio.client import Client

from jobplane.contracts.topology import USERS, UserSpec
from jobplane.local import credentials, nats, ports, postgres, roles
from tests.chaos.history import Recorder
from tests.chaos.proxy import Proxy
from tests.chaos.wishes import SIDE
from tests.support.platform import JOBPLANE, Platform
from tests.support.waiting import eventually_sync

T = TypeVar("T")
ROOT: Final = Path(__file__).parents[2]
LEASE_MS: Final = 2000
DATABASE: Final = "jobplane"
EVERYBODY: Final = UserSpec("chaos", publish=(">",), subscribe=(">",))
_STOP_S: Final = 10.0


class Stage:
    """One platform in one directory. Use it from the main thread: its servers die with the thread that started them."""

    def __init__(self, directory: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.history_directory = directory / "history"
        self.history = Recorder(self.history_directory / "stage.jsonl", "stage")
        self.postgres_directory = directory / "postgres"
        self.nats_directory = directory / "nats"
        self.platform = Platform(directory / "platform", options=("--workers", "0"))
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {"JOBPLANE_LEASE_MS": str(LEASE_MS), "JOBPLANE_TOKEN_MINUTES": "600"}
        self._environment |= dict(environment or {})
        self.platform.data.mkdir(parents=True, exist_ok=True)
        self._known = credentials.load_or_create(self.platform.data / "credentials.json")
        self._passwords = self._known.nats_users | {EVERYBODY.name: "chaos"}
        self._ports = ports.keep_or_choose({}, ("postgres", "nats"))
        self.postgres: postgres.PostgresServer | None = None
        self.nats: nats.NatsServer | None = None
        self.database_proxy = Proxy(self._ports["postgres"])
        self.bus_proxy = Proxy(self._ports["nats"])

    @property
    def database_url(self) -> str:
        """The database as its superuser, past the proxy."""
        address = f"{ports.LOOPBACK}:{self._ports['postgres']}"
        return postgres.url(postgres.SUPERUSER, self._known.postgres_password, address, DATABASE)

    @property
    def nats_url(self) -> str:
        """The bus as somebody who may do everything, past the proxy."""
        return nats.url(EVERYBODY.name, "chaos", f"{ports.LOOPBACK}:{self._ports['nats']}")

    @property
    def nats_address(self) -> str:
        """The bus without a user, past the proxy."""
        return f"nats://{ports.LOOPBACK}:{self._ports['nats']}"

    def nats_url_as(self, user: str) -> str:
        """The bus as one of its real users, past the proxy."""
        return nats.url(user, self._passwords[user], f"{ports.LOOPBACK}:{self._ports['nats']}")

    def start_servers(self) -> None:
        """Start both servers; the database is there afterwards, empty if it is new."""
        self.start_nats()
        self.start_postgres()
        assert self.postgres is not None
        roles.create_database(self.postgres.url(), DATABASE)

    def start(self) -> None:
        """Start everything but workers, and wait until it is ready."""
        if self.postgres is None:
            self.start_servers()
        address = f"{ports.LOOPBACK}:{self.database_proxy.port}"
        superuser = postgres.url(postgres.SUPERUSER, self._known.postgres_password, address, DATABASE)
        servers = {"DATABASE_URL": superuser, "NATS_URL": f"nats://{ports.LOOPBACK}:{self.bus_proxy.port}"}
        self.platform.start(environment=self._environment | servers)

    def start_nats(self) -> None:
        """Start the bus (again) with the files it has."""
        self.nats = nats.start(
            self.nats_directory,
            port=self._ports["nats"],
            passwords=self._passwords,
            log=self.directory / "logs" / "nats.log",
            users=(*USERS, EVERYBODY),
        )
        self.nats.wait_ready()

    def start_postgres(self) -> None:
        """Start the database server (again) with the files it has."""
        self.postgres = postgres.start(
            self.postgres_directory,
            port=self._ports["postgres"],
            password=self._known.postgres_password,
            log=self.directory / "logs" / "postgres.log",
        )
        self.postgres.wait_ready()

    def stop_nats(self) -> None:
        """An orderly end of the bus."""
        assert self.nats is not None
        self.nats.stop()

    def stop_postgres(self) -> None:
        """An orderly end of the database server."""
        assert self.postgres is not None
        self.postgres.stop()

    def start_worker(self, name: str, *, concurrency: int = 4, environment: Mapping[str, str] | None = None) -> None:
        """A worker process with the recorded handlers."""
        command: list[str | Path] = [JOBPLANE, "worker", "tests.chaos.handlers", "--data", self.platform.data]
        told = {
            "JOBPLANE_WORKER_LEASE_MS": str(LEASE_MS),
            "CHAOS_HISTORY": str(self.history_directory),
        }
        with (self.directory / "logs" / f"{name}.log").open("ab") as log:
            self.workers[name] = subprocess.Popen(
                [*command, "--name", name, "--concurrency", str(concurrency), "--queue", "default", "--queue", SIDE],
                env=os.environ | told | dict(environment or {}),
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        """Of a service, a worker, `nats` or `postgres`."""
        if name == "nats":
            assert self.nats is not None
            return self.nats.process.pid
        if name == "postgres":
            assert self.postgres is not None
            return self.postgres.process.pid
        return self.workers[name].pid if name in self.workers else self.platform.pid(name)

    def signal(self, name: str, sign: signal.Signals) -> int:
        """Send a signal to one process of this platform; gives its id."""
        pid = self.pid(name)
        os.kill(pid, sign)
        return pid

    def kill_frozen(self, name: str) -> None:
        """End a process that is stopped; its next life begins without it."""
        pid = self.signal(name, signal.SIGKILL)
        wait_for(lambda: self.pid(name) != pid, _STOP_S, f"{name} is not started again")

    def end_worker(self, name: str) -> None:
        """Ask a worker to end, and wait for it."""
        _end(self.workers.pop(name))

    def query(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database directly, as its superuser."""
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=5) as conn:
            return conn.execute(statement.encode(), parameters).fetchall()

    def on_bus(self, talk: Callable[[Client], Awaitable[T]]) -> T:
        """Talk to the bus as somebody who may do everything."""

        async def talking() -> T:
            client = await nats_client.connect(self.nats_url, connect_timeout=5, max_reconnect_attempts=3)
            try:
                return await talk(client)
            finally:
                await client.close()

        return asyncio.run(talking())

    def stream_end(self, stream: str) -> int:
        """The last sequence of a stream."""

        async def ask(client: Client) -> int:
            return (await client.jetstream().stream_info(stream)).state.last_seq

        return self.on_bus(ask)

    def probe(self, service: str, what: str = "readyz") -> int:
        """The status that the probe listener of a service answers."""
        known = json.loads((self.platform.data / "credentials.json").read_text())
        return httpx2.get(f"http://{ports.LOOPBACK}:{known['ports'][service]}/{what}", timeout=5).status_code

    def stop(self) -> None:
        """End everything that was started, whatever state it is in."""
        for worker in self.workers.values():
            _end(worker)
        if self.platform.started:
            for child in _family(self.platform.process.pid):
                _send(child, signal.SIGCONT)
            self.platform.stop()
        for server in (self.nats, self.postgres):
            if server is not None:
                server.process.send_signal(signal.SIGCONT)
                server.stop()
        self.database_proxy.close()
        self.bus_proxy.close()
        self.history.close()

    def remove(self) -> None:
        """Delete what it wrote."""
        shutil.rmtree(self.directory, ignore_errors=True)


def _family(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _send(pid: int, sign: signal.Signals) -> None:
    try:
        os.kill(pid, sign)
    except ProcessLookupError:
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(predicate: Any, timeout: float, what: str) -> None:
    """Wait until something is so. Raises AssertionError that says what was waited for."""
    try:
        eventually_sync(predicate, timeout=timeout)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
