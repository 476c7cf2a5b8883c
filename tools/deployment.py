"""What a deployment needs from the code: the NATS configuration of the declared users, and a file of fresh secrets.

`python tools/deployment.py nats` writes deploy/nats/nats-server.conf (a test asserts that it is current).
`python tools/deployment.py secrets --output .env` makes the variables that docker-compose.yml asks for, in a new file
that only its owner may read; without `--output` it prints them.
"""

import secrets
import sys
from pathlib import Path

from jobplane.contracts.topology import USERS
from jobplane.local import nats
from jobplane.local.credentials import OWNER, SERVICES, role_of
from jobplane.local.files import write_private

CONFIGURATION = Path(__file__).resolve().parent.parent / "deploy" / "nats" / "nats-server.conf"

_HEAD = """\
# Written by tools/deployment.py from jobplane.contracts.topology; do not edit.
server_name: "jobplane"
port: 4222
max_payload: 1MB
jetstream {
  store_dir: "/data"
  sync_interval: always
}
"""


def nats_variable(user: str) -> str:
    """Name of the variable with a NATS user's password."""
    return f"NATS_PASSWORD_{user.upper().replace('-', '_')}"


def database_variable(role: str) -> str:
    """Name of the variable with a database role's password."""
    return f"DB_PASSWORD_{role.removeprefix('jobplane_').upper()}"


def nats_configuration() -> str:
    """The same users and rights as the embedded server's; passwords come from the server's environment."""
    marks = {user.name: f"@{nats_variable(user.name)}@" for user in USERS}
    block = nats.users_block(USERS, marks)
    for mark in marks.values():
        block = block.replace(f'"{mark}"', f"${mark.strip('@')}")  # an unquoted word with a dollar is a variable
    return _HEAD + block


def secret() -> str:
    """Begins with a letter: nats-server reads the value of a variable as configuration, where digits make a number."""
    return f"s{secrets.token_hex(20)}"


def variables() -> str:
    """A line for each secret that docker-compose.yml asks for."""
    names = ["POSTGRES_PASSWORD", *(database_variable(role) for role in (OWNER, *map(role_of, SERVICES)))]
    names += [nats_variable(user.name) for user in USERS] + ["JOBPLANE_ADMIN_PASSWORD"]
    return "".join(f"{name}={secret()}\n" for name in names)


def keep(file: Path) -> None:
    """Write fresh secrets where there are none yet: the volumes of a running deployment know the old ones."""
    if file.exists():
        sys.exit(f"{file} exists already: its secrets may be in use")
    write_private(file, variables())


def main() -> None:
    """One of the two words."""
    match sys.argv[1:]:
        case ["nats"]:
            CONFIGURATION.write_text(nats_configuration())
        case ["secrets"]:
            sys.stdout.write(variables())
        case ["secrets", "--output", file]:
            keep(Path(file))
        case _:
            sys.exit("usage: python tools/deployment.py nats | secrets [--output FILE]")


if __name__ == "__main__":
    main()
