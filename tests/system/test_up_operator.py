"""`jobplane up` with an operator's own servers: configuration alone, and one sentence where a right is missing."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from jobplane.local import credentials, ports, postgres
from tests.support import servers
from tests.support.platform import Platform
from tests.support.servers import Bus
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Platform]:
    mine = Platform(tmp_path / "up", ["--workers", "1"])
    yield mine
    if mine.started:
        mine.stop()


@pytest.fixture
def operators_database(tmp_path: Path) -> Iterator[str]:
    """A database that exists, and the address of somebody who may create roles but is no superuser."""
    server = servers.start_postgres(tmp_path / "operator")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE operator LOGIN CREATEROLE PASSWORD 'operator'")
        connection.execute("CREATE ROLE visitor LOGIN PASSWORD 'visitor'")
        connection.execute("CREATE DATABASE operated OWNER operator")
    yield postgres.url("operator", "operator", f"{ports.LOOPBACK}:{server.port}", "operated")
    server.stop()


@pytest.mark.parametrize("least_privilege", [True, False], ids=["a user for each purpose", "one user for everything"])
def test_the_operators_servers_are_prepared_and_used(
    whole: Platform, operators_database: str, bus: Bus, *, least_privilege: bool
) -> None:
    whole.data.mkdir(parents=True)
    credentials.save(whole.data / "credentials.json", servers.SECRETS)  # this bus has the users of nats-users.conf
    address = f"nats://{ports.LOOPBACK}:{bus.port}" if least_privilege else bus.url("test")
    whole.start(environment={"DATABASE_URL": operators_database, "NATS_URL": address})
    assert "postgres (yours)" in whole.said()
    assert not (whole.data / "postgres").exists()
    assert not (whole.data / "nats").exists()
    assert 'user: "worker"' in (whole.data / "nats-users.conf").read_text()
    with whole.client() as client:
        job = client.post("/jobs", json={"kind": "nobody.does.this", "payload": {}}).json()
        eventually_sync(lambda: client.get("/audit").json()["items"], timeout=10)
    with psycopg.connect(operators_database) as connection:
        connection.execute("SET ROLE jobplane_owner")
        assert connection.execute("SELECT count(*) FROM jobs.job WHERE id = %s", [job["id"]]).fetchone() == (1,)


def test_a_database_user_without_the_right_to_make_roles_is_one_sentence(
    whole: Platform, operators_database: str, bus: Bus
) -> None:
    visitor = operators_database.replace("operator:operator", "visitor:visitor")
    whole.launch(environment={"DATABASE_URL": visitor, "NATS_URL": bus.url("test")})
    assert whole.process.wait(60) == 1
    assert "it needs CREATEROLE" in whole.said()
    assert "Traceback" not in whole.said()


def test_a_database_that_is_not_there_is_one_sentence(whole: Platform, bus: Bus) -> None:
    with socket.socket() as nobody:
        nobody.bind((ports.LOOPBACK, 0))
        address = postgres.url("a", "b", f"{ports.LOOPBACK}:{nobody.getsockname()[1]}", "c")
        whole.launch(environment={"DATABASE_URL": address, "NATS_URL": bus.url("test")})
        assert whole.process.wait(60) == 1
    assert "The database does not let us in" in whole.said()
    assert "Traceback" not in whole.said()
