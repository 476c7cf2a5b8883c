"""The database, its schemas and its roles: an owner who migrates, and one role per service that owns nothing."""

import contextlib
from collections.abc import Mapping

import psycopg
from psycopg import sql

from jobplane.local.credentials import OWNER, SERVICES, role_of
from jobplane.local.problems import CannotStart

_LOCK = 0x6A6F6270  # "jobp": two starts against one operator's server take turns


def create_database(admin_url: str, name: str) -> None:
    """Create the database if it is not there."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def prepare(admin_url: str, passwords: Mapping[str, str]) -> None:
    """Create or renew the roles, schemas and rights in the database of `admin_url`. Doing it again changes nothing.

    Tables made later by the owner give the service of their schema SELECT, INSERT, UPDATE and DELETE; a journal's
    migration takes UPDATE and DELETE on its events away again. Raises CannotStart if the given user lacks the right.
    """
    try:
        with psycopg.connect(admin_url) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            for role in (OWNER, *map(role_of, SERVICES)):
                _ensure_role(connection, role, passwords[role])
            _let_owner_in(connection)
            for service in SERVICES:
                _ensure_schema(connection, service, role_of(service))
            _let_health_look(connection)
    except psycopg.errors.InsufficientPrivilege as error:
        message = (
            "The user of DATABASE_URL may not create roles and schemas "
            f"(it needs CREATEROLE and CREATE on the database): {error.diag.message_primary}."
        )
        raise CannotStart(message) from error


def _ensure_role(connection: psycopg.Connection, role: str, password: str) -> None:
    # Only the SCRAM verifier travels: a password in a statement would end up in the server's log.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    statement = "ALTER ROLE {} LOGIN PASSWORD {}" if exists else "CREATE ROLE {} LOGIN PASSWORD {}"
    connection.execute(sql.SQL(statement).format(sql.Identifier(role), sql.Literal(verifier)))


def _let_owner_in(connection: psycopg.Connection) -> None:
    """Nobody else connects, nobody creates anything in `public`."""
    database = sql.Identifier(connection.info.dbname)
    roles = sql.SQL(", ").join(sql.Identifier(role) for role in (OWNER, *map(role_of, SERVICES)))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, roles))
    connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    superuser = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    if superuser != (True,):  # an ordinary administrator must be a member to make schemas for the owner
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(OWNER)))


def _let_health_look(connection: psycopg.Connection) -> None:
    """The health service sees how old every transaction is; where the administrator may not grant that, it says so."""
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(role_of("health"))))


def _ensure_schema(connection: psycopg.Connection, schema: str, role: str) -> None:
    names = {"schema": sql.Identifier(schema), "role": sql.Identifier(role), "owner": sql.Identifier(OWNER)}
    defaults = "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema} GRANT"
    for statement in (
        "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner}",
        "GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"{defaults} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {{role}}",
        f"{defaults} USAGE, SELECT ON SEQUENCES TO {{role}}",
    ):
        connection.execute(sql.SQL(statement).format(**names))
