"""Clones: a job knows which one it was copied from."""

from alembic import op

revision = "0009_clones"
down_revision = "0008_search_skew"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; no row is touched."""
    op.execute("ALTER TABLE job ADD COLUMN cloned_from uuid")
