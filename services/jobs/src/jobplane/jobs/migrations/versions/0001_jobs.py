"""Journal, jobs, erasable bodies and counters of the jobs service."""

from alembic import op

from jobplane.chassis import journal_tables

revision = "0001_jobs"
down_revision = None
branch_labels = None
depends_on = None

ROLE = "jobplane_jobs"

# fillfactor: beats and status changes then find room on the same page, and need no new index entries where none of
# theirs changed.
JOB = """
CREATE TABLE job (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    queue text NOT NULL,
    status text NOT NULL,
    priority smallint NOT NULL,
    run_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    max_attempts smallint NOT NULL,
    timeout_ms bigint,
    tags text[] NOT NULL,
    unique_key text,
    asset text,
    payload_ref uuid,
    result_ref uuid,
    error_ref uuid,
    error_type text,
    error_fingerprint text,
    run integer NOT NULL,
    attempt smallint NOT NULL,
    orphanings smallint NOT NULL,
    forced boolean NOT NULL,
    worker text,
    token text,
    lease_ms integer,
    started_at timestamptz,
    finished_at timestamptz,
    stop text,
    stop_token text,
    version integer NOT NULL,
    trace_id text NOT NULL,
    traceparent text NOT NULL,
    correlation_id uuid NOT NULL,
    position bigint NOT NULL,
    ready boolean NOT NULL,
    lease_until timestamptz,
    progress real,
    lease_request text,
    unmentioned_at timestamptz
) WITH (fillfactor = 80)
"""

INDEXES = (
    # What a worker may take now, in the order of taking; far-future jobs are not in it.
    "CREATE INDEX job_ready ON job (queue, forced DESC, priority DESC, run_at, id) WHERE ready",
    # What the scheduler makes ready when its time comes.
    "CREATE INDEX job_waiting ON job (run_at) WHERE status = 'PENDING' AND NOT ready",
    # What the rescuer and the beats of a worker look through: as many rows as there are runs.
    "CREATE INDEX job_running ON job (worker, id) WHERE status = 'RUNNING'",
    "CREATE INDEX job_stopping ON job (id) WHERE stop = 'pending'",
    "CREATE UNIQUE INDEX job_unique_key ON job (kind, unique_key) "
    "WHERE unique_key IS NOT NULL AND status IN ('PENDING', 'RUNNING')",
    # Lists, newest first: ids sort by creation.
    "CREATE INDEX job_by_status ON job (status, id)",
    "CREATE INDEX job_by_kind ON job (kind, id)",
)

# Payloads, results and error texts: what may hold secrets or personal data, erasable without touching an event.
BODY = """
CREATE TABLE body (
    ref uuid PRIMARY KEY,
    job_id uuid NOT NULL,
    salt bytea NOT NULL,
    data bytea NOT NULL
)
"""

COUNTERS = """
CREATE TABLE job_count (
    queue text NOT NULL,
    status text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (queue, status)
) WITH (fillfactor = 50)
"""

# Since when beats could be served without a pause of a third of a lease: nothing expires before that plus one lease.
SERVABLE = """
CREATE TABLE beat_service (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    served_until timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


def upgrade() -> None:
    """Make the schema."""
    journal_tables.create(op, ROLE)
    journal_tables.create_outcomes(op, ROLE)
    op.execute(JOB)
    for index in INDEXES:
        op.execute(index)
    op.execute(BODY)
    op.execute(COUNTERS)
    op.execute(SERVABLE)
    op.execute("INSERT INTO beat_service DEFAULT VALUES")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON job, body, job_count TO {ROLE}")
    op.execute(f"GRANT SELECT, UPDATE ON beat_service TO {ROLE}")
