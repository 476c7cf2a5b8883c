"""The embedded servers: safe by default, the same after a restart, gone when stopped."""

import socket
from pathlib import Path

import nats
import psycopg
import pytest

from jobplane.local import roles
from jobplane.local.postgres import PostgresServer
from jobplane.local.problems import CannotStart
from tests.support.servers import SECRETS, Bus, Database, start_postgres
from tests.support.waiting import eventually


def test_the_bus_refuses_strangers(bus: Bus) -> None:
    with socket.create_connection(("127.0.0.1", bus.port), timeout=5) as stranger, stranger.makefile("rwb") as line:
        assert line.readline().startswith(b"INFO ")
        line.write(b'CONNECT {"verbose":true}\r\nPING\r\n')
        line.flush()
        assert line.readline().startswith(b"-ERR 'Authorization Violation'")


async def test_a_user_of_the_bus_may_not_leave_its_subjects(bus: Bus) -> None:
    denied: list[Exception] = []

    async def note(error: Exception) -> None:
        denied.append(error)

    async with await nats.connect(bus.url("worker"), error_cb=note) as connection:
        await connection.publish("jobs.evt.0._.created", b"{}")
        await eventually(lambda: denied)
    assert "permissions violation" in str(denied[0]).lower()


async def test_what_jetstream_acknowledged_survives_a_kill(bus: Bus) -> None:
    async with await nats.connect(bus.url("test")) as connection:
        stream = connection.jetstream()
        await stream.add_stream(name="T", subjects=["t.>"])
        await stream.publish("t.a", b"1")
    bus.kill()
    bus.start()
    async with await nats.connect(bus.url("test")) as connection:
        assert (await connection.jetstream().get_msg("T", 1)).data == b"1"


def test_postgres_wants_a_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{postgres_server.port}/postgres")


def test_postgres_checks_its_pages(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url()) as connection:
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)


def test_preparing_the_roles_again_changes_nothing(blank_database: Database) -> None:
    roles.prepare(blank_database.admin_url, SECRETS.roles)
    with psycopg.connect(blank_database.url("jobs")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("jobplane_jobs",)


def test_a_service_owns_nothing_and_sees_only_its_own_schema(blank_database: Database) -> None:
    with psycopg.connect(blank_database.owner_url) as owner:
        owner.execute("CREATE TABLE audit.entry (id int)")
    with psycopg.connect(blank_database.url("jobs"), autocommit=True) as service:
        for statement in (
            "SELECT * FROM audit.entry",
            "CREATE TABLE jobs.mine (id int)",
            "CREATE TABLE public.x (id int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(statement)


def test_a_directory_may_have_any_name(tmp_path: Path) -> None:
    directory = tmp_path / 'a "ü" and b\'s'
    bus = Bus(directory)
    bus.start()
    bus.stop()
    database = start_postgres(directory)
    database.stop()
    assert (directory / "postgres" / "PG_VERSION").exists()


def test_an_interrupted_creation_is_not_mistaken_for_a_database(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = start_postgres(tmp_path)
    server.stop()
    assert not (tmp_path / "postgres.new").exists()


def test_a_database_of_another_major_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(CannotStart, match="was written by PostgreSQL 9"):
        start_postgres(tmp_path)
    assert [file.name for file in cluster.iterdir()] == ["PG_VERSION"]
