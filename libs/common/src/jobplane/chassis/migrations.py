"""Brings a service's schema up to date with Alembic, which is loaded only when there is something to do."""

import importlib.util
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from jobplane.contracts.errors import JobplaneError, Unavailable

_VERSION_TABLE: Final = "alembic_version"
_LONGEST_ID: Final = 32  # the width of Alembic's own column


class Statements(Protocol):
    """What a migration runs its statements with: Alembic's `op`."""

    def execute(self, sqltext: str) -> None:
        """Run one statement."""


def upgrade(owner_url: str, service: str) -> None:
    """Run what is missing of `jobplane.<service>.migrations` in the schema `<service>`, as the owner of its tables.

    All of it happens in one transaction, so a failed migration changes nothing; two callers take turns. When nothing
    is missing this costs one query. A service without migrations is left alone.

    Raises:
        JobplaneError: the schema was written by a newer version of the program.
        Unavailable: the database does not answer.
    """
    scripts = _scripts(service)
    known = revisions(service)
    if scripts is None or not known:
        return
    try:
        with psycopg.connect(owner_url, autocommit=True, connect_timeout=5) as connection:
            current = _current(connection, service)
    except psycopg.OperationalError as error:
        reason = next(iter(str(error).splitlines()), "no reason given")
        raise Unavailable(f"the database cannot be used: {reason}", code="database_unavailable") from error
    _refuse_newer(service, current, known)
    if current != known[-1]:
        _run(owner_url, service, scripts)


async def require_current(pool: AsyncConnectionPool, service: str) -> None:
    """Return if the schema is the one this program was written for.

    Raises:
        JobplaneError: it is newer, or has not been migrated yet.
    """
    known = revisions(service)
    if not known:
        return
    async with pool.connection() as conn:
        found = await (await conn.execute("SELECT to_regclass(%s) IS NOT NULL", (_VERSION_TABLE,))).fetchone()
        row = None
        if found == (True,):
            row = await (await conn.execute(f"SELECT version_num FROM {_VERSION_TABLE}")).fetchone()  # noqa: S608 - a constant
    current = None if row is None else str(row[0])
    _refuse_newer(service, current, known)
    if current != known[-1]:
        raise JobplaneError(
            f"the schema of {service} is at {current or 'nothing'}, not at {known[-1]}: migrate it first"
        )


def revisions(service: str) -> list[str]:
    """The revision ids of a service, oldest first: the names of its migration files, ``0001_initial`` and so on."""
    scripts = _scripts(service)
    if scripts is None:
        return []
    names = sorted(file.stem for file in (scripts / "versions").glob("[0-9]*.py"))
    for name in names:
        if len(name) > _LONGEST_ID:
            raise JobplaneError(f"the migration {name} of {service} has a name longer than {_LONGEST_ID} characters")
    return names


def _scripts(service: str) -> Path | None:
    # Located, not imported: a migration imports Alembic, which costs most of a second.
    spec = importlib.util.find_spec(f"jobplane.{service}")
    if spec is None or not spec.submodule_search_locations:
        return None
    directory = Path(next(iter(spec.submodule_search_locations))) / "migrations"
    return directory if (directory / "versions").is_dir() else None


def _current(connection: psycopg.Connection[Any], schema: str) -> str | None:
    table = sql.Identifier(schema, _VERSION_TABLE)
    found = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.{_VERSION_TABLE}",)).fetchone()
    if found != (True,):
        return None
    row = connection.execute(sql.SQL("SELECT version_num FROM {}").format(table)).fetchone()
    return None if row is None else str(row[0])


def _refuse_newer(service: str, current: str | None, known: list[str]) -> None:
    if current is not None and current not in known:
        raise JobplaneError(
            f"the schema of {service} was written by a newer version ({current}, this program knows {known[-1]}): "
            "install that version again"
        )


def _run(owner_url: str, service: str, scripts: Path) -> None:
    from alembic.config import Config  # noqa: PLC0415 - 0.9 s, and needed once per version
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above
    from sqlalchemy import create_engine, pool, text  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(owner_url, options=f"-c search_path={service} -c lock_timeout=30s")

    def to_head(revision: Any, _context: Any) -> Any:  # noqa: ANN401 - Alembic's own types are private
        return script._upgrade_revs("head", revision)  # noqa: SLF001 - what `alembic upgrade` itself calls

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=pool.NullPool)
    with engine.begin() as connection, EnvironmentContext(config, script, fn=to_head) as environment:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('jobplane migrations'))"))
        environment.configure(connection=connection, version_table_schema=service, version_table=_VERSION_TABLE)
        environment.run_migrations()
        _protect_version(connection.connection.driver_connection, service)


def _protect_version(connection: Any, service: str) -> None:  # noqa: ANN401 - SQLAlchemy does not know the driver's type
    """The service may read the version of its schema, not write it."""
    role = f"jobplane_{service}"
    if connection.execute("SELECT to_regrole(%s) IS NOT NULL", (role,)).fetchone() == (True,):
        revoke = sql.SQL("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {} FROM {}")
        connection.execute(revoke.format(sql.Identifier(service, _VERSION_TABLE), sql.Identifier(role)))
