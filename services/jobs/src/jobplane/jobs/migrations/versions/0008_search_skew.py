"""Search: how far creation and the time in the id lie apart, so that times narrow the ids that are looked at."""

from alembic import op

revision = "0008_search_skew"
down_revision = "0007_queue_control"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two numbers; the index is made anew to learn them."""
    op.execute("ALTER TABLE search_progress ADD earliest_ms bigint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE search_progress ADD latest_ms bigint NOT NULL DEFAULT 0")
    op.execute("UPDATE search_progress SET redaction = ''")
