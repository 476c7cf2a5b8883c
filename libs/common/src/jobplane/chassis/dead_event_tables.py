"""The table of a projection that buries what it cannot read: which events of which stream are missing from its rows."""

from jobplane.chassis.migrations import Statements


def create(op: Statements, role: str) -> None:
    """Make the record of dead events in the current schema; `role` may only add to it."""
    op.execute(
        """
        CREATE TABLE dead_event (
            stream text NOT NULL,
            position bigint NOT NULL,
            reason text NOT NULL,
            at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (stream, position)
        )
        """
    )
    op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON dead_event FROM {role}")
    op.execute(f"GRANT SELECT, INSERT ON dead_event TO {role}")


def revivable(op: Statements, role: str) -> None:
    """`role` may also strike out what it has read after all. An event struck out without that is found to be lost."""
    op.execute(f"GRANT DELETE ON dead_event TO {role}")
