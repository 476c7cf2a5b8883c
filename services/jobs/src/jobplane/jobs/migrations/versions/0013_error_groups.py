"""Error groups: failures with the same cause, counted where they are written."""

from alembic import op

revision = "0013_error_groups"
down_revision = "0012_archive"
branch_labels = None
depends_on = None

ROLE = "jobplane_jobs"

# A group is updated with every batch of its failures: room on its page, so that old versions go quickly.
GROUPS = """
CREATE TABLE error_group (
    fingerprint text PRIMARY KEY,
    type text NOT NULL,
    kinds text[] NOT NULL,
    queues text[] NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    occurrences bigint NOT NULL,
    failed_now bigint NOT NULL,
    sample_job uuid NOT NULL,
    sample_error_ref uuid
) WITH (fillfactor = 50)
"""
TRENDS = """
CREATE TABLE error_trend (
    fingerprint text NOT NULL,
    hour timestamptz NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (fingerprint, hour)
) WITH (fillfactor = 50)
"""
INDEXES = (
    "CREATE INDEX error_group_last ON error_group (last_at, fingerprint)",
    "CREATE INDEX error_group_count ON error_group (occurrences, fingerprint)",
    "CREATE INDEX error_group_failed ON error_group (failed_now, fingerprint)",
    "CREATE INDEX error_trend_hour ON error_trend (hour)",
    # The newest jobs of a group; jobs that never failed are not in it.
    "CREATE INDEX job_by_error ON job (error_fingerprint, id) WHERE error_fingerprint IS NOT NULL",
)
# What failed before counts once for each job that still shows it.
KNOWN = """
INSERT INTO error_group (fingerprint, type, kinds, queues, first_at, last_at, occurrences, failed_now, sample_job,
    sample_error_ref)
SELECT error_fingerprint, (array_agg(error_type ORDER BY id DESC))[1],
    (array_agg(DISTINCT kind))[1:20], (array_agg(DISTINCT queue))[1:20],
    min(coalesce(finished_at, started_at, created_at)), max(coalesce(finished_at, started_at, created_at)),
    count(*), count(*) FILTER (WHERE status = 'FAILED'),
    (array_agg(id ORDER BY id DESC))[1], (array_agg(error_ref ORDER BY id DESC))[1]
FROM job WHERE error_fingerprint IS NOT NULL GROUP BY error_fingerprint
"""


def upgrade() -> None:
    """Make the tables and fill them with what is known."""
    op.execute(GROUPS)
    op.execute(TRENDS)
    for index in INDEXES:
        op.execute(index)
    op.execute(KNOWN)
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON error_group, error_trend TO {ROLE}")
