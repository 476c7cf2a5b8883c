"""Archived jobs: where the bulk operations stand in the journal that their rows knew of."""

from alembic import op

revision = "0012_archive"
down_revision = "0011_acting"
branch_labels = None
depends_on = None

ROLE = "jobplane_jobs"


def upgrade() -> None:
    """Make the table; only jobs that were part of a bulk operation come into it."""
    op.execute("CREATE TABLE archived_job (id uuid PRIMARY KEY, bulk_positions bigint[] NOT NULL)")
    op.execute(f"GRANT SELECT, INSERT ON archived_job TO {ROLE}")
