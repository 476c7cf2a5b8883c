"""The action of the AuditLog for jobs that were archived.

Revision ID: 0007_archived
"""

from alembic import op

revision = "0007_archived"
down_revision = "0006_dead_letters"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the action."""
    op.execute("ALTER TYPE audit_action ADD VALUE IF NOT EXISTS 'JOB_ARCHIVED'")
