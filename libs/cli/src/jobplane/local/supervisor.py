"""Starts the whole platform on this machine, keeps it alive, and ends it in order."""

import signal
import sys
import time
from collections.abc import Callable

from jobplane.local import connections, credentials, plan, ports, processes, readiness
from jobplane.local.children import Children, Run
from jobplane.local.connections import CommandLine, ProducerConnection, WorkerConnection
from jobplane.local.credentials import SERVICES, Credentials
from jobplane.local.data_dir import DataDirectory
from jobplane.local.embedded import Servers
from jobplane.local.plan import Options, Site
from jobplane.local.problems import CannotStart
from jobplane.local.reporter import Reporter
from jobplane.local.signals import Signals

_READY_S = 90.0
_LOOK_S = 0.02
# Three stages of the end; what one does not use is left to the next.
_END_S = 4.7
_CORE_S = 1.6
_SERVERS_S = 0.8

LOCAL_ACCOUNT = "local"


class Stopped(Exception):
    """The end was asked for."""


class Platform:
    """All processes of one data directory. Use it from the main thread: children die with the thread that made them."""

    def __init__(
        self, data: DataDirectory, known: Credentials, options: Options, reporter: Reporter, signals: Signals
    ) -> None:
        self._data = data
        self._options = options
        self._report = reporter
        self._http_port = options.port or ports.free_port()
        self._ports = ports.keep_or_choose(known.ports, ("nats", "postgres", *SERVICES), taken=self._http_port)
        self._known = known.model_copy(update={"ports": self._ports})
        self._servers = Servers(data, self._known, self._ports)
        self._signals = signals
        self._children: Children | None = None

    @property
    def url(self) -> str:
        """Where the console and the API are."""
        return f"http://{ports.LOOPBACK}:{self._http_port}"

    def start(self, admin_password: str | None) -> None:
        """Return when everything is ready. Raises CannotStart or Stopped; call `stop` in any case."""
        credentials.save(self._data.credentials, self._known)
        self._report.starting("services")
        children = self._children = Children(self._data, self._signals, self._report)
        self._start_servers()
        site = self._site(admin_password)
        self._prepare_database(site)
        self._until(lambda: children.preloaded, "the services were not loaded")
        self._report.ready("services")
        waiting = []
        for child in [*plan.services(site), *plan.workers(site, self._options.workers)]:
            self._report.starting(child.name)
            waiting.append(children.begin(child))
        self._wait_until_ready(waiting)
        children.settled = True
        self._write_connections()

    def demo(self) -> None:
        """Begin to turn pictures into jobs, beside everything else."""
        if self._children is not None:
            self._children.begin(plan.demo_child(self._site(None), self._options.demo), once=True)

    def watch(self) -> None:
        """Keep everything alive until the end is asked for."""
        while not self._signals.stop_asked:
            self._turn(self._pause())
            now = time.monotonic()
            self._servers.revive(now, self._report.say)
            if self._children is not None:
                self._children.revive(now)

    def stop(self) -> None:
        """End in order: first who has work to hand back, then the services behind, then the servers."""
        end_at = time.monotonic() + _END_S
        try:
            if self._children is not None:
                runs = list(self._children.runs.values())
                self._children.end([run for run in runs if run.child.edge], end_at - _CORE_S)
                self._children.end(runs, end_at - _SERVERS_S)
                self._children.close()
        finally:
            self._servers.stop(timeout_s=max(_SERVERS_S, end_at - time.monotonic()))

    def _start_servers(self) -> None:
        servers = self._servers
        nats, postgres = servers.names
        for name, start, wait in (
            (nats, servers.start_nats, servers.wait_nats),
            (postgres, servers.start_postgres, servers.wait_postgres),
        ):
            self._report.starting(name)
            start()
            wait()
            self._report.ready(name)

    def _prepare_database(self, site: Site) -> None:
        """In a process of its own, while the fork server imports: Alembic leaves with it."""
        self._report.starting("database")
        log = self._data.log("setup")
        setup = processes.start(
            [sys.executable, "-P", "-m", "jobplane.local.database_setup"],
            log=log,
            dies_by=signal.SIGTERM,
            environment=plan.setup_environment(site, create_from=self._servers.create_from),
        )
        try:
            self._until(lambda: setup.poll() is not None, "the database was not prepared")
        finally:
            processes.stop(setup, signal.SIGTERM, timeout_s=_SERVERS_S)
        if setup.returncode != 0:
            raise CannotStart(processes.last_words(log, lines=1))
        self._report.ready("database")

    def _site(self, admin_password: str | None) -> Site:
        return Site(
            data=self._data,
            addresses=self._servers.addresses,
            ports=self._ports,
            http_port=self._http_port,
            local_password=self._known.local_password,
            admin_password=admin_password,
        )

    def _write_connections(self) -> None:
        connections.write(
            self._data.connection,
            CommandLine(url=self.url, username=LOCAL_ACCOUNT, password=self._known.local_password),
        )
        connections.write(
            self._data.worker_connection,
            WorkerConnection(
                nats_url=self._servers.addresses.nats_as("worker"), object_store_url=self._data.assets.as_uri()
            ),
        )
        connections.write(
            self._data.producer_connection, ProducerConnection(nats_url=self._servers.addresses.nats_as("producer"))
        )

    def _wait_until_ready(self, waiting: list[Run]) -> None:
        reasons: dict[str, str] = {}

        def all_ready() -> bool:
            for run in list(waiting):
                reason = _not_ready(run)
                if reason is None:
                    waiting.remove(run)
                    self._report.ready(run.child.name)
                else:
                    reasons[run.child.name] = reason
            return not waiting

        def complaint() -> str:
            return "; ".join(f"{run.child.name} is not ready: {reasons[run.child.name]}" for run in waiting)

        self._until(all_ready, complaint)

    def _until(self, so: Callable[[], bool], complaint: str | Callable[[], str]) -> None:
        deadline = time.monotonic() + _READY_S
        while not so():
            self._turn(_LOOK_S)
            if self._signals.stop_asked:
                raise Stopped
            if time.monotonic() > deadline:
                what = complaint if isinstance(complaint, str) else complaint()
                message = f"After {_READY_S:.0f} s {what} (logs: {self._data.logs})."
                raise CannotStart(message)

    def _turn(self, timeout_s: float | None) -> None:
        if self._children is not None:
            self._children.wait(timeout_s)

    def _pause(self) -> float | None:
        """Until somebody's pause is over; for ever if nobody waits."""
        due = [self._servers.due_at(), self._children.due_at() if self._children is not None else None]
        times = [at for at in due if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None


def _not_ready(run: Run) -> str | None:
    if run.pid is None:
        return "it was not forked yet"
    return None if run.child.probe_port is None else readiness.not_ready(run.child.probe_port)
