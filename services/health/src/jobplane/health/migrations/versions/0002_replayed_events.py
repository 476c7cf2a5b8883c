"""Dead events can be read after all.

Revision ID: 0002_replayed_events
"""

from alembic import op

from jobplane.chassis import dead_event_tables

revision = "0002_replayed_events"
down_revision = "0001_health"
branch_labels = None
depends_on = None


def upgrade() -> None:
    dead_event_tables.revivable(op, "jobplane_health")
