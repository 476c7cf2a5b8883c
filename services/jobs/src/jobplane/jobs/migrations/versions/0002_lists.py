"""Lists of one queue or one kind: each status of it by itself, so that a page is read in the order of an index."""

from alembic import op

revision = "0002_lists"
down_revision = "0001_jobs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes that lists are read from."""
    op.execute("CREATE INDEX job_by_queue ON job (queue, status, id)")
    op.execute("CREATE INDEX job_by_kind_and_status ON job (kind, status, id)")
    op.execute("DROP INDEX job_by_kind")
