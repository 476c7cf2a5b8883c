"""Roles, schemas and migrations before the services start, in a process of its own, so that Alembic leaves with it."""

import json
import os
import sys

import psycopg

from jobplane.contracts.errors import JobplaneError
from jobplane.local import migrate, roles
from jobplane.local.addresses import as_user
from jobplane.local.credentials import OWNER


def main() -> None:
    """Read what to prepare from the environment; end with one sentence if it cannot be done."""
    address = os.environ["JOBPLANE_SETUP_DATABASE_URL"]
    passwords: dict[str, str] = json.loads(os.environ["JOBPLANE_SETUP_ROLES"])
    try:
        create_from = os.environ.get("JOBPLANE_SETUP_CREATE")
        if create_from:
            roles.create_database(create_from, "jobplane")
        roles.prepare(address, passwords)
        migrate.migrate(as_user(address, OWNER, passwords[OWNER]))
    except JobplaneError as error:
        sys.exit(str(error))
    except psycopg.OperationalError as error:
        sys.exit(f"The database does not let us in: {' '.join(str(error).split())}")


if __name__ == "__main__":
    main()
