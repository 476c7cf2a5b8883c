"""Entries of refusals name what was refused.

Revision ID: 0012_refused_commands
"""

from alembic import op

revision = "0012_refused_commands"
down_revision = "0011_late"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it; those that were written before do not know it."""
    op.execute("ALTER TABLE audit_log ADD COLUMN command text")
