"""What happened per minute, since when each check is as it is, and the checkpoint of the projection.

Revision ID: 0001_health
"""

from alembic import op

from jobplane.chassis import dead_event_tables, projection_tables

revision = "0001_health"
down_revision = None
branch_labels = None
depends_on = None

ROLE = "jobplane_health"

# Rows of the current minute are updated again and again: room on their page lets them stay there.
MINUTE_RATE = """
CREATE TABLE minute_rate (
    minute timestamptz NOT NULL,
    queue text NOT NULL,
    kind text NOT NULL,
    created integer NOT NULL,
    started integer NOT NULL,
    completed integer NOT NULL,
    failed integer NOT NULL,
    PRIMARY KEY (minute, queue, kind)
) WITH (fillfactor = 70)
"""

CHECK_STANDING = """
CREATE TABLE check_standing (
    name text PRIMARY KEY,
    status text NOT NULL,
    since timestamptz NOT NULL
)
"""


def upgrade() -> None:
    op.execute(MINUTE_RATE)
    op.execute(CHECK_STANDING)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON minute_rate, check_standing TO {ROLE}")
    projection_tables.create(op, ROLE)
    dead_event_tables.create(op, ROLE)
