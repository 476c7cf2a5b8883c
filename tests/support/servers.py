"""Real servers for tests: one PostgreSQL per session with a migrated template, one nats-server per test."""

import itertools
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import bus as buses
from jobplane.chassis import database as databases
from jobplane.contracts.topology import USERS, UserSpec
from jobplane.local import credentials, migrate, nats, ports, postgres, roles
from jobplane.local.credentials import OWNER, role_of

SECRETS = credentials.fresh()
TEST_USER = UserSpec("test", publish=(">",), subscribe=(">",))
_QUICK = "fsync = off\nfull_page_writes = off\nmax_connections = 200\n"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """One database of its own, and how to reach it as each role."""

    server: postgres.PostgresServer
    name: str

    @property
    def admin_url(self) -> str:
        """As the superuser: for looking behind the scenes."""
        return self.server.url(self.name)

    @property
    def owner_url(self) -> str:
        """As the role that migrates and owns the tables."""
        return self._url(OWNER)

    @asynccontextmanager
    async def pool(self, service: str) -> AsyncIterator[AsyncConnectionPool]:
        """Connections with the rights of one service, closed at the end."""
        opened = await databases.open_pool(self.url(service), schema=service, service=service)
        try:
            yield opened
        finally:
            await opened.close()

    def url(self, service: str) -> str:
        """As the role of one service (`jobs`, `audit`, `health`, `gateway`)."""
        return self._url(role_of(service))

    def _url(self, role: str) -> str:
        return postgres.url(role, SECRETS.roles[role], f"{ports.LOOPBACK}:{self.server.port}", self.name)


def start_postgres(directory: Path, port: int | None = None) -> postgres.PostgresServer:
    """A quick, forgetful server: the machine may not lose power during a test."""
    server = postgres.start(
        directory / "postgres",
        port=port or ports.free_port(),
        password=SECRETS.postgres_password,
        log=directory / "postgres.log",
        extra_settings=_QUICK,
    )
    server.wait_ready()
    return server


def create_template(server: postgres.PostgresServer, name: str, *, migrated: bool) -> Database:
    """A database with roles and schemas (and tables, if migrated), to be copied by every test."""
    roles.create_database(server.url(), name)
    template = Database(server, name)
    roles.prepare(template.admin_url, SECRETS.roles)
    if migrated:
        migrate.migrate(template.owner_url)
    return template


def copy_of(template: Database) -> Database:
    """A fresh copy (about 12 ms where the files are in memory)."""
    copy = Database(template.server, f"test_{next(_numbers)}")
    with psycopg.connect(template.server.url(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(copy.name), sql.Identifier(template.name)
            )
        )
    return copy


def drop(database: Database) -> None:
    """Remove a copy, whoever is still connected."""
    with psycopg.connect(database.server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name)))


class PrivateDatabase:
    """A migrated database on a PostgreSQL of its own, for tests that take the server away."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = start_postgres(directory)
        self._database = create_template(self._server, "jobplane", migrated=True)

    def url(self, service: str) -> str:
        """As the role of one service; the same before and after a restart."""
        return self._database.url(service)

    @property
    def admin_url(self) -> str:
        """As the superuser."""
        return self._database.admin_url

    def stop(self) -> None:
        """An orderly end: connections are closed, transactions roll back."""
        self._server.stop()

    def kill(self) -> None:
        """End it without warning (kill -9); its helpers notice and end too."""
        self._server.process.send_signal(signal.SIGKILL)
        self._server.process.wait()

    def start(self) -> None:
        """Start again on the same port with the same files."""
        self._server = start_postgres(self._directory, port=self._server.port)


@dataclass(slots=True)
class Bus:
    """A nats-server of its own with the real users, that can be stopped, killed, wiped and started again."""

    directory: Path
    port: int = field(default_factory=ports.free_port)
    server: nats.NatsServer | None = None

    def start(self) -> None:
        """Start (again) on the same port with the same files."""
        passwords = SECRETS.nats_users | {TEST_USER.name: "test"}
        self.server = nats.start(
            self.directory / "nats",
            port=self.port,
            passwords=passwords,
            log=self.directory / "nats.log",
            users=(*USERS, TEST_USER),
        )
        self.server.wait_ready()

    def stop(self) -> None:
        """An orderly end."""
        if self.server is not None:
            self.server.stop()

    def kill(self) -> None:
        """End it without warning (kill -9)."""
        if self.server is not None:
            self.server.process.send_signal(signal.SIGKILL)
            self.server.process.wait()

    @asynccontextmanager
    async def connected(self, user: str) -> AsyncIterator[buses.Connection]:
        """A connection of one of the real users, or of `test`, closed at the end."""
        connection = await buses.connect(self.url(user), user=user, name=f"a test as {user}")
        try:
            yield connection
        finally:
            await buses.close(connection)

    def url(self, user: str) -> str:
        """As one of the real users of `contracts.topology`, or as `test`, who may do everything."""
        password = "test" if user == TEST_USER.name else SECRETS.nats_users[user]
        return nats.url(user, password, f"{ports.LOOPBACK}:{self.port}")
