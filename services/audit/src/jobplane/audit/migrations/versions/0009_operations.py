"""Entries name the bulk operation that they are of or about.

Revision ID: 0009_operations
"""

from alembic import op

revision = "0009_operations"
down_revision = "0008_seen"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; an operation may have very many entries, so that its index is in their order."""
    op.execute("ALTER TABLE audit_log ADD COLUMN operation_id uuid")
    op.execute("CREATE INDEX audit_log_operation ON audit_log (operation_id, position) WHERE operation_id IS NOT NULL")
