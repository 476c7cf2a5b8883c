"""What people do with dead letters.

Revision ID: 0006_dead_letters
"""

from alembic import op

revision = "0006_dead_letters"
down_revision = "0005_bulk"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for action in ("DEAD_LETTER_REPLAYED", "DEAD_LETTER_DISCARDED"):
        op.execute(f"ALTER TYPE audit_action ADD VALUE IF NOT EXISTS '{action}'")
