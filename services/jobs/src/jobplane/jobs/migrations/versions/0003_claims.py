"""Claims: what is ready lies in the order of taking kind by kind, so that nobody looks at jobs of other kinds."""

from alembic import op

revision = "0003_claims"
down_revision = "0002_lists"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Lead the index of what is ready by the kind, too."""
    op.execute("DROP INDEX job_ready")
    op.execute("CREATE INDEX job_ready ON job (queue, kind DESC, forced DESC, priority DESC, run_at, id) WHERE ready")
