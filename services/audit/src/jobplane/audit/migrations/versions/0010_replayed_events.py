"""Dead events can be read after all.

Revision ID: 0010_replayed_events
"""

from alembic import op

from jobplane.chassis import dead_event_tables

revision = "0010_replayed_events"
down_revision = "0009_operations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    dead_event_tables.revivable(op, "jobplane_audit")
