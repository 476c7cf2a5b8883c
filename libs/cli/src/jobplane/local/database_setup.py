"""Roles, schemas and migrations before the services start, in a process of its own, so that Alembic leaves with it."""

import os
import sys
from pathlib import Path

import psycopg

from jobplane.contracts.errors import JobplaneError
from jobplane.local import credentials, migrate, roles
from jobplane.local.addresses import as_user
from jobplane.local.credentials import OWNER


def main() -> None:
    """Read what to prepare from the environment; end with one sentence if it cannot be done."""
    address = os.environ["JOBPLANE_SETUP_DATABASE_URL"]
    passwords = credentials.load_or_create(Path(os.environ["JOBPLANE_SETUP_CREDENTIALS"])).roles
    try:
        if os.environ["JOBPLANE_SETUP_CREATE"]:
            roles.create_database(os.environ["JOBPLANE_SETUP_CREATE"], "jobplane")
        roles.prepare(address, passwords)
        migrate.migrate(as_user(address, OWNER, passwords[OWNER]))
    except JobplaneError as error:
        sys.exit(str(error))
    except psycopg.OperationalError as error:
        sys.exit(f"The database does not let us in: {' '.join(str(error).split())}")
