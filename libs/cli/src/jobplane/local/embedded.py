"""The two servers under the services: ours, embedded, or the operator's by DATABASE_URL and NATS_URL."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from jobplane.contracts.topology import USERS
from jobplane.local import nats, ports, postgres
from jobplane.local.addresses import Addresses
from jobplane.local.backoff import Backoff
from jobplane.local.credentials import Credentials
from jobplane.local.data_dir import DataDirectory
from jobplane.local.files import write_private

DATABASE = "jobplane"


@dataclass(slots=True)
class Servers:
    """The embedded ones among the two, kept alive."""

    data: DataDirectory
    credentials: Credentials
    ports: dict[str, int]
    database_url: str | None = field(default_factory=lambda: os.environ.get("DATABASE_URL") or None)
    nats_url: str | None = field(default_factory=lambda: os.environ.get("NATS_URL") or None)
    _postgres: postgres.PostgresServer | None = None
    _nats: nats.NatsServer | None = None
    _backoffs: dict[str, Backoff] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, str]:
        """For the start-up display."""
        return (
            "nats" if self.nats_url is None else "nats (yours)",
            "postgres" if self.embeds_postgres else "postgres (yours)",
        )

    @property
    def embeds_postgres(self) -> bool:
        """Whether the database is ours."""
        return self.database_url is None

    def start_nats(self) -> None:
        """Start ours without waiting, or write down for the operator's which users it needs."""
        if self.nats_url is not None:
            write_private(self.data.nats_users, nats.users_block(USERS, self.credentials.nats_users))
            return
        self._nats = nats.start(
            self.data.nats, port=self.ports["nats"], passwords=self.credentials.nats_users, log=self.data.log("nats")
        )

    def start_postgres(self) -> None:
        """Start ours without waiting; creating its files takes a second, once."""
        if self.embeds_postgres:
            self._postgres = postgres.start(
                self.data.postgres,
                port=self.ports["postgres"],
                password=self.credentials.postgres_password,
                log=self.data.log("postgres"),
            )

    def wait_nats(self) -> None:
        """Return when ours accepts connections."""
        if self._nats is not None:
            self._nats.wait_ready()

    def wait_postgres(self) -> None:
        """Return when ours accepts connections."""
        if self._postgres is not None:
            self._postgres.wait_ready()

    @property
    def create_from(self) -> str:
        """Where our database is created from; empty for the operator's, which exists."""
        return self._postgres.url() if self._postgres is not None else ""

    @property
    def addresses(self) -> Addresses:
        """How the platform reaches both."""
        ours = self._postgres.url(DATABASE) if self._postgres is not None else ""
        return Addresses(
            database=self.database_url or ours,
            nats=self.nats_url or f"nats://{ports.LOOPBACK}:{self.ports['nats']}",
            roles=self.credentials.roles,
            nats_users=self.credentials.nats_users,
        )

    def revive(self, now: float, say: Callable[[str], None]) -> None:
        """Start again what crashed; call it whenever a child of ours ended, and when a pause is over."""
        if self._nats is not None and self._nats.process.poll() is not None:
            self._revive("nats", now, self.start_nats, say)
        if self._postgres is not None and self._postgres.process.poll() is not None:
            self._revive("postgres", now, self.start_postgres, say)

    def _revive(self, name: str, now: float, start: Callable[[], None], say: Callable[[str], None]) -> None:
        backoff = self._backoffs.setdefault(name, Backoff())
        if backoff.due_at is None:
            pause = backoff.crashed(now)
            say(f"{name} ended unexpectedly, starting it again in {pause:.1f} s (log: {self.data.log(name)})")
        elif now >= backoff.due_at:
            backoff.started(now)
            start()

    def due_at(self) -> float | None:
        """When `revive` has something to do next."""
        return min((backoff.due_at for backoff in self._backoffs.values() if backoff.due_at is not None), default=None)

    def stop(self, *, timeout_s: float) -> None:
        """End ours, side by side."""
        if self._nats is not None:
            self._nats.process.send_signal(signal.SIGTERM)
        if self._postgres is not None:
            self._postgres.stop(timeout_s=timeout_s)
        if self._nats is not None:
            self._nats.stop(timeout_s=timeout_s)
