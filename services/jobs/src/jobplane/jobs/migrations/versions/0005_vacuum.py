"""Vacuum: a job changes three times in its life, so its table is cleaned when a fiftieth of it is dead, not a fifth."""

from alembic import op

revision = "0005_vacuum"
down_revision = "0004_lists_by_phase"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Clean and analyse the table of jobs more often than PostgreSQL does by default."""
    op.execute("ALTER TABLE job SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)")
