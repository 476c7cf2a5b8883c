"""The tables of a projection: how far it has read, written in the same transaction as its rows."""

from jobplane.chassis.migrations import Statements


def create(op: Statements, role: str) -> None:
    """Make the checkpoints in the current schema."""
    op.execute(
        """
        CREATE TABLE checkpoint (
            name text PRIMARY KEY,
            position bigint NOT NULL DEFAULT 0,
            halted text,
            moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON checkpoint TO {role}")
