import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobplane.chassis import database as chassis_database
from jobplane.chassis import migrations
from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.local import ports
from tests.support.servers import Database

REVISION = '''
"""{name}."""
from alembic import op
revision = "{name}"
down_revision = {before!r}
def upgrade() -> None:
    {body}
'''


class Scripts:
    """Migrations of a service, made by a test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "versions").mkdir(parents=True)
        self.names: list[str] = []

    def add(self, name: str, statement: str) -> None:
        before = self.names[-1] if self.names else None
        text = REVISION.format(name=name, before=before, body=f"op.execute({statement!r})")
        (self.directory / "versions" / f"{name}.py").write_text(text)
        self.names.append(name)


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    made = Scripts(tmp_path / "100%" / "migrations")  # a path that a configuration file would misread
    made.add("0001_things", "CREATE TABLE thing (id int)")
    monkeypatch.setattr(migrations, "_scripts", lambda _service: made.directory)
    return made


@pytest.fixture
def owner(blank_database: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(blank_database.owner_url, autocommit=True) as connection:
        yield connection


def version(owner: psycopg.Connection[Any]) -> str:
    row = owner.execute("SELECT version_num FROM audit.alembic_version").fetchone()
    assert row is not None
    return str(row[0])


def test_what_is_missing_is_run_in_the_schema(
    blank_database: Database, scripts: Scripts, owner: psycopg.Connection[Any]
) -> None:
    migrations.upgrade(blank_database.owner_url, "audit")
    assert version(owner) == "0001_things"
    scripts.add("0002_names", "ALTER TABLE thing ADD name text")
    migrations.upgrade(blank_database.owner_url, "audit")
    migrations.upgrade(blank_database.owner_url, "audit")
    assert version(owner) == "0002_names"
    assert owner.execute("SELECT id, name FROM audit.thing").fetchall() == []


def test_a_failing_migration_changes_nothing(
    blank_database: Database, scripts: Scripts, owner: psycopg.Connection[Any]
) -> None:
    migrations.upgrade(blank_database.owner_url, "audit")
    scripts.add("0002_fine", "ALTER TABLE thing ADD name text")
    scripts.add("0003_broken", "ALTER TABLE nothing ADD name text")
    with pytest.raises(Exception, match="nothing"):
        migrations.upgrade(blank_database.owner_url, "audit")
    assert version(owner) == "0001_things"


def test_two_starts_take_turns(blank_database: Database) -> None:
    script = f"from jobplane.chassis import migrations\nmigrations.upgrade({blank_database.owner_url!r}, 'audit')"
    starts = [subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE) for _ in range(2)]
    for start in starts:
        _, err = start.communicate(timeout=60)
        assert (start.returncode, err) == (0, b"")


@pytest.mark.usefixtures("scripts")
def test_a_newer_schema_is_refused(blank_database: Database, owner: psycopg.Connection[Any]) -> None:
    migrations.upgrade(blank_database.owner_url, "audit")
    owner.execute("UPDATE audit.alembic_version SET version_num = '0009_future'")
    with pytest.raises(JobplaneError, match=r"newer version \(0009_future, this program knows 0001_things\)"):
        migrations.upgrade(blank_database.owner_url, "audit")
    assert version(owner) == "0009_future"


async def test_a_service_starts_only_on_its_own_schema_version(
    blank_database: Database, scripts: Scripts, owner: psycopg.Connection[Any]
) -> None:
    pool = await chassis_database.open_pool(blank_database.url("audit"), schema="audit", service="audit")
    with pytest.raises(JobplaneError, match="is at nothing, not at 0001_things: migrate it first"):
        await migrations.require_current(pool, "audit")
    migrations.upgrade(blank_database.owner_url, "audit")
    await migrations.require_current(pool, "audit")
    scripts.add("0002_more", "SELECT 1")
    with pytest.raises(JobplaneError, match="is at 0001_things, not at 0002_more"):
        await migrations.require_current(pool, "audit")
    owner.execute("UPDATE audit.alembic_version SET version_num = '0009_future'")
    with pytest.raises(JobplaneError, match="newer version"):
        await migrations.require_current(pool, "audit")
    await pool.close()


@pytest.mark.usefixtures("scripts")
def test_a_service_may_not_change_its_schema_version(blank_database: Database) -> None:
    migrations.upgrade(blank_database.owner_url, "audit")
    with psycopg.connect(blank_database.url("audit")) as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute("DELETE FROM audit.alembic_version")


@pytest.mark.usefixtures("scripts")
def test_an_unreachable_database_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="the database cannot be used") as away:
        migrations.upgrade(f"postgresql://owner:hidden@127.0.0.1:{ports.free_port()}/x", "audit")
    assert "hidden" not in str(away.value)


def test_a_name_that_alembic_cannot_keep_is_refused(blank_database: Database, scripts: Scripts) -> None:
    scripts.add("0002_" + "x" * 40, "SELECT 1")
    with pytest.raises(JobplaneError, match="longer than 32 characters"):
        migrations.upgrade(blank_database.owner_url, "audit")


@pytest.mark.parametrize("service", ["jobs", "audit", "health", "gateway"])
def test_a_current_schema_costs_no_import_of_alembic(database: Database, service: str) -> None:
    script = (
        "import sys\nfrom jobplane.chassis import migrations\n"
        f"migrations.upgrade({database.owner_url!r}, {service!r})\nprint('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
