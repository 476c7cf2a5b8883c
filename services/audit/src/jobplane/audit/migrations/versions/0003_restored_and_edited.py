"""Actions of the AuditLog for jobs that were restored or edited.

Revision ID: 0003_restored_and_edited
"""

from alembic import op

revision = "0003_restored_and_edited"
down_revision = "0002_people"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the actions."""
    for action in ("JOB_RESTORED", "JOB_EDITED"):
        op.execute(f"ALTER TYPE audit_action ADD VALUE '{action}'")
