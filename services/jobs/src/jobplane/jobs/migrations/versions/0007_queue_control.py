"""Queues and kinds that are, or were, paused or limited."""

from alembic import op

revision = "0007_queue_control"
down_revision = "0006_search"
branch_labels = None
depends_on = None

ROLE = "jobplane_jobs"

# Every claim asks whether one of its queue or kinds is active here: mostly there is none. A limited one is locked and
# updated with each of its claims: room on its page lets it stay there.
QUEUE_CONTROL = """
CREATE TABLE queue_control (
    key text PRIMARY KEY,
    sort text NOT NULL CHECK (sort IN ('queue', 'kind')),
    name text NOT NULL,
    version integer NOT NULL,
    paused json,
    limits json,
    active boolean NOT NULL GENERATED ALWAYS AS (paused IS NOT NULL OR limits IS NOT NULL) STORED,
    paid_until timestamptz
) WITH (fillfactor = 20)
"""


def upgrade() -> None:
    """Make the table."""
    op.execute(QUEUE_CONTROL)
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON queue_control TO {ROLE}")
