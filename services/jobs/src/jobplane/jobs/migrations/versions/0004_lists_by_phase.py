"""Lists: jobs that are over lie apart from those that wait or run, so that a job enters each index once."""

from alembic import op

revision = "0004_lists_by_phase"
down_revision = "0003_claims"
branch_labels = None
depends_on = None

# Word for word as the lists ask. None of them says that the status equals something: the planner would then hold the
# order of the ids for the order of the index, and walk all jobs where it thinks that enough of them fit.
OVER = "status IN ('COMPLETED', 'FAILED', 'CANCELLED')"
PENDING = "status NOT IN ('RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')"
RUNNING = "status NOT IN ('PENDING', 'COMPLETED', 'FAILED', 'CANCELLED')"

INDEXES = (
    f"CREATE INDEX job_over ON job (status, id) WHERE {OVER}",
    f"CREATE INDEX job_over_by_queue ON job (queue, status, id) WHERE {OVER}",
    f"CREATE INDEX job_over_by_kind ON job (kind, status, id) WHERE {OVER}",
    f"CREATE INDEX job_pending ON job (status, id) WHERE {PENDING}",
    f"CREATE INDEX job_pending_by_queue ON job (queue, status, id) WHERE {PENDING}",
    f"CREATE INDEX job_pending_by_kind ON job (kind, status, id) WHERE {PENDING}",
    # As many rows as there are runs: queues and kinds are filtered.
    f"CREATE INDEX job_running_newest ON job (status, id) WHERE {RUNNING}",
)


def upgrade() -> None:
    """Make the indexes that lists are read from, in the place of those that every change of a job touched."""
    # First what locks most: a replica at work and a lock that grows would wait for each other.
    for name in ("job_by_status", "job_by_queue", "job_by_kind_and_status"):
        op.execute(f"DROP INDEX {name}")
    for index in INDEXES:
        op.execute(index)
