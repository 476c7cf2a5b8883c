"""One filled platform for all tests; each gets a copy of its database, to damage it."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobplane.cli.site import Site
from tests.integration.cli.filling import fill, site_of
from tests.support import servers
from tests.support.servers import Bus, Database


@pytest.fixture(scope="session")
def filled_bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    """The bus of the filled platform; it is only read."""
    server = Bus(tmp_path_factory.mktemp("filled"))
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def filled_database(migrated_template: Database, filled_bus: Bus) -> Iterator[Database]:
    """What the services left; it is only copied."""
    copy = servers.copy_of(migrated_template)
    asyncio.run(fill(copy, filled_bus))
    yield copy
    servers.drop(copy)


@pytest.fixture
def database(filled_database: Database) -> Iterator[Database]:
    """A copy to damage."""
    copy = servers.copy_of(filled_database)
    yield copy
    servers.drop(copy)


@pytest.fixture
def site(database: Database, filled_bus: Bus, tmp_path: Path) -> Site:
    """The copy, and the bus that all tests share."""
    return site_of(database, filled_bus, tmp_path)
