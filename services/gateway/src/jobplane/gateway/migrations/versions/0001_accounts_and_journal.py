"""Accounts, sessions, tokens, source addresses, limits, uploads, pending commands, and the journal."""

from alembic import op

from jobplane.chassis import journal_tables

revision = "0001_accounts_and_journal"
down_revision = None

ROLE = "jobplane_gateway"

_TABLES = {
    "account": """
        CREATE TABLE account (
            id uuid PRIMARY KEY,
            name text NOT NULL UNIQUE,
            role text NOT NULL CHECK (role IN ('VIEWER', 'ADMIN', 'SUPERADMIN')),
            password_hash text NOT NULL,
            version integer NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )""",
    "session": """
        CREATE TABLE session (
            secret_hash bytea PRIMARY KEY,
            account_id uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL
        )""",
    "token": """
        CREATE TABLE token (
            secret_hash bytea PRIMARY KEY,
            account_id uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz NOT NULL
        )""",
    # The only place of a person's address: erasing the row leaves every event valid and anonymous.
    "origin": """
        CREATE TABLE origin (
            id uuid PRIMARY KEY,
            address text NOT NULL UNIQUE,
            seen_at timestamptz NOT NULL DEFAULT now()
        )""",
    # Losing the limits in a crash is harmless, and without a write-ahead log they cost a tenth.
    "rate_limit": """
        CREATE UNLOGGED TABLE rate_limit (
            key text PRIMARY KEY,
            full_at timestamptz NOT NULL
        ) WITH (fillfactor = 50)""",
    "asset": """
        CREATE TABLE asset (
            id uuid PRIMARY KEY,
            name text NOT NULL,
            content_type text NOT NULL,
            size_bytes bigint NOT NULL,
            account_id uuid NOT NULL REFERENCES account (id),
            created_at timestamptz NOT NULL DEFAULT now()
        )""",
    "pending_command": """
        CREATE TABLE pending_command (
            command_id uuid PRIMARY KEY,
            account_id uuid NOT NULL REFERENCES account (id) ON DELETE CASCADE,
            created_at timestamptz NOT NULL DEFAULT now()
        )""",
}
_INDEXES = (
    "CREATE INDEX session_account ON session (account_id)",
    "CREATE INDEX session_expires ON session (expires_at)",
    "CREATE INDEX token_account ON token (account_id)",
    "CREATE INDEX token_expires ON token (expires_at)",
    "CREATE INDEX pending_command_created ON pending_command (created_at)",
)


def upgrade() -> None:
    journal_tables.create(op, ROLE)
    for name, statement in _TABLES.items():
        op.execute(statement)
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {ROLE}")
    for statement in _INDEXES:
        op.execute(statement)
