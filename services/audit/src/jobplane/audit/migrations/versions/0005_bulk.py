"""Bulk operations have actions of their own.

Revision ID: 0005_bulk
"""

from alembic import op

revision = "0005_bulk"
down_revision = "0004_queues"
branch_labels = None
depends_on = None

ACTIONS = ("REQUESTED", "PLANNED", "STARTED", "PAUSED", "RESUMED", "STOPPED", "FINISHED", "FAILED")


def upgrade() -> None:
    """Add them."""
    for action in ACTIONS:
        op.execute(f"ALTER TYPE audit_action ADD VALUE 'BULK_{action}'")
