"""What can happen to queues.

Revision ID: 0004_queues
"""

from alembic import op

revision = "0004_queues"
down_revision = "0003_restored_and_edited"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for action in ("QUEUE_PAUSED", "QUEUE_RESUMED", "QUEUE_LIMITED"):
        op.execute(f"ALTER TYPE audit_action ADD VALUE IF NOT EXISTS '{action}'")
