"""Search: the index of what jobs say, kept apart from the jobs so that nothing of it is touched when they change."""

from alembic import op

revision = "0006_search"
down_revision = "0005_vacuum"
branch_labels = None
depends_on = None

ROLE = "jobplane_jobs"

SEARCH = """
CREATE TABLE job_search (
    job_id uuid PRIMARY KEY,
    terms tsvector NOT NULL,
    actors text[] NOT NULL,
    failed boolean NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)
"""
# New entries wait in a short list that every search reads: long enough to be worth a batch, short enough to be read.
TERMS = "CREATE INDEX job_search_terms ON job_search USING gin (terms) WITH (gin_pending_list_limit = 1024)"
PROGRESS = """
CREATE TABLE search_progress (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    position bigint NOT NULL DEFAULT 0,
    redaction text NOT NULL DEFAULT ''
) WITH (fillfactor = 50)
"""


def upgrade() -> None:
    """Make the tables; the service fills them from the beginning of the journal."""
    op.execute(SEARCH)
    op.execute(TERMS)
    op.execute(PROGRESS)
    op.execute("INSERT INTO search_progress DEFAULT VALUES")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON job_search TO {ROLE}")
    op.execute(f"REVOKE INSERT, DELETE ON search_progress FROM {ROLE}")
    op.execute(f"GRANT SELECT, UPDATE ON search_progress TO {ROLE}")
