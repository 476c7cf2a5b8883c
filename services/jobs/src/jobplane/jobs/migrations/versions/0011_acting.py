"""Whoever runs a plan is who changes its jobs, perhaps not whoever planned it."""

from alembic import op

revision = "0011_acting"
down_revision = "0010_operations"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; no row is touched."""
    op.execute("ALTER TABLE operation ADD COLUMN acting json")
