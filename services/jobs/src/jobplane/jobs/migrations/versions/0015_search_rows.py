"""What only the rows of jobs tell is found without reading them all: by worker, end, priority and attempt."""

from alembic import op

revision = "0015_search_rows"
down_revision = "0014_keyed_chunks"
branch_labels = None
depends_on = None

OVER = "status IN ('COMPLETED', 'FAILED', 'CANCELLED')"
PENDING = "status NOT IN ('RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')"

INDEXES = (
    # Word for word as the lists ask. A job enters once, when it is over, and never if no worker ran it. Those that wait
    # for another run have no index of their own for that: a bulk retry would pay with a sixth of its speed.
    f"CREATE INDEX job_over_by_worker ON job (worker, status, id) WHERE worker IS NOT NULL AND {OVER}",
    f"CREATE INDEX job_pending ON job (status, id, worker) WHERE {PENDING}",
    "CREATE INDEX job_finished ON job (finished_at, id) WHERE finished_at IS NOT NULL",
    # Hardly any job is urgent or tried often: which pages have some is known at the price of one comparison a write.
    "CREATE INDEX job_ranges ON job USING brin (priority, attempt) WITH (pages_per_range = 32, autosummarize = on)",
)


def upgrade() -> None:
    """Make the indexes."""
    op.execute("DROP INDEX job_pending")
    for index in INDEXES:
        op.execute(index)
