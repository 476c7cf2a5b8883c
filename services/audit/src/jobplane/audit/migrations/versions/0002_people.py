"""People are found by an index of their own: programs that enqueue have names, and are no longer in it.

Revision ID: 0002_people
"""

from alembic import op

revision = "0002_people"
down_revision = "0001_audit_log"
branch_labels = None
depends_on = None

UUID_LENGTH = 36


def upgrade() -> None:
    """Make the index anew; it loses an entry for each job that a program enqueued."""
    op.execute("DROP INDEX audit_log_person")
    op.execute(
        "CREATE INDEX audit_log_person ON audit_log (hashtextextended(actor_id, 0), position)"
        f" WHERE actor_kind NOT IN ('worker', 'system') AND length(actor_id) = {UUID_LENGTH}"
    )
