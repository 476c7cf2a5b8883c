"""Undos are found by what they take back; a plan that could not be made is tried again later, and not for ever."""

from alembic import op

revision = "0016_plan_tries"
down_revision = "0015_search_rows"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them; no row is touched."""
    op.execute("CREATE INDEX operation_undo ON operation (undo_of) WHERE undo_of IS NOT NULL")
    op.execute("ALTER TABLE operation ADD COLUMN plan_tries smallint NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE operation ADD COLUMN plan_at timestamptz")
