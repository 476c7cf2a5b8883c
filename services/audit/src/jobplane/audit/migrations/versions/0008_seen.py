"""What people look at that is or may be secret.

Revision ID: 0008_seen
"""

from alembic import op

revision = "0008_seen"
down_revision = "0007_archived"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for action in ("JOB_REVEALED", "DEAD_LETTER_INSPECTED"):
        op.execute(f"ALTER TYPE audit_action ADD VALUE IF NOT EXISTS '{action}'")
