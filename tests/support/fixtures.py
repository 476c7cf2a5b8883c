"""The fixtures every test may ask for."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from jobplane.local.postgres import PostgresServer
from tests.support import servers
from tests.support.platform import Platform
from tests.support.servers import Bus, Database, PrivateDatabase

_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 4 << 30


@pytest.fixture(scope="session")
def quick_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For what no test needs on a disk: in memory where there is room (a copy of a database takes 12 ms, not 200)."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM:
        yield tmp_path_factory.mktemp("servers")
        return
    with tempfile.TemporaryDirectory(prefix="jobplane-tests-", dir=_MEMORY) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def postgres_server(quick_directory: Path) -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole session; ask for `database` instead, unless the server itself is tested."""
    server = servers.start_postgres(quick_directory)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> Database:
    """Roles, schemas and every service's tables."""
    return servers.create_template(postgres_server, "template_migrated", migrated=True)


@pytest.fixture(scope="session")
def blank_template(postgres_server: PostgresServer) -> Database:
    """Roles and schemas, no tables."""
    return servers.create_template(postgres_server, "template_blank", migrated=False)


@pytest.fixture
def database(migrated_template: Database) -> Iterator[Database]:
    """A fresh, migrated database: `database.url("jobs")`, `.owner_url`, `.admin_url`."""
    copy = servers.copy_of(migrated_template)
    yield copy
    servers.drop(copy)


@pytest.fixture
def blank_database(blank_template: Database) -> Iterator[Database]:
    """A fresh database with roles and empty schemas, for tests that bring their own tables."""
    copy = servers.copy_of(blank_template)
    yield copy
    servers.drop(copy)


@pytest.fixture
def private_database(tmp_path: Path) -> Iterator[PrivateDatabase]:
    """A migrated database on a server of its own: `.stop()`, `.kill()`, `.start()` (about 1 s)."""
    private = PrivateDatabase(tmp_path / "private")
    yield private
    private.stop()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    """A fresh nats-server with the real users (about 50 ms): `bus.url("worker")`, `.stop()`, `.kill()`, `.start()`."""
    server = Bus(tmp_path / "bus")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The whole platform as real processes, one per test module: `.url`, `.client()`, and `.kill("jobs")`."""
    whole = Platform(tmp_path_factory.mktemp("platform"))
    try:
        whole.start()
        yield whole
    finally:
        whole.stop()
