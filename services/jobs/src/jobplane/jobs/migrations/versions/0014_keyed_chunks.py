"""A chunk of a plan knows whether any of its jobs has a unique key: those of the others need not be looked for."""

from alembic import op

revision = "0014_keyed_chunks"
down_revision = "0013_error_groups"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of plans that were made before, nobody knows."""
    op.execute("ALTER TABLE plan_chunk ADD COLUMN keyed boolean NOT NULL DEFAULT true")
