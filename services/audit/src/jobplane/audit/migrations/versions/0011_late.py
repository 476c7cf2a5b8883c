"""Entries of events that were read long after they happened.

Revision ID: 0011_late
"""

from alembic import op

revision = "0011_late"
down_revision = "0010_replayed_events"
branch_labels = None
depends_on = None

ROLE = "jobplane_audit"

# Such positions are not among those of their hour in `audit_hour`; there are few, a search by time looks here, too.
LATE = "CREATE TABLE audit_late (position bigint PRIMARY KEY, at timestamptz NOT NULL)"


def upgrade() -> None:
    op.execute(LATE)
    op.execute("CREATE INDEX audit_late_at ON audit_late (at)")
    op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON audit_late FROM {ROLE}")
    op.execute(f"GRANT SELECT, INSERT ON audit_late TO {ROLE}")
