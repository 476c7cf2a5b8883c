"""Bulk operations and the chunks of their plans; a job knows which chunks changed it."""

from alembic import op

revision = "0010_operations"
down_revision = "0009_clones"
branch_labels = None
depends_on = None

ROLE = "jobplane_jobs"

OPERATION = """
CREATE TABLE operation (
    id uuid PRIMARY KEY,
    action text NOT NULL,
    status text NOT NULL,
    version integer NOT NULL,
    actor json NOT NULL,
    reason text,
    filter json,
    edit json,
    rate double precision,
    then_run boolean NOT NULL,
    undo_of uuid,
    requested_at timestamptz NOT NULL,
    planned_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    as_of bigint,
    total bigint,
    done bigint NOT NULL DEFAULT 0,
    codes jsonb NOT NULL DEFAULT '{}',
    skipping json NOT NULL DEFAULT '{}',
    drift json,
    code text,
    detail text,
    command_id uuid,
    correlation_id uuid NOT NULL,
    traceparent text NOT NULL,
    ids uuid[],
    breakdown json,
    sample uuid[],
    chunks integer NOT NULL DEFAULT 0,
    chunk_size integer NOT NULL DEFAULT 0,
    next_chunk integer NOT NULL DEFAULT 0,
    next_at timestamptz
) WITH (fillfactor = 50)
"""

# The jobs of a plan, up to 500 in a row: a row for each would cost more than the change of the job itself.
PLAN_CHUNK = """
CREATE TABLE plan_chunk (
    operation_id uuid NOT NULL,
    number integer NOT NULL,
    job_ids uuid[] NOT NULL,
    expected integer[],
    edits json[],
    codes text[],
    versions integer[],
    positions bigint[],
    PRIMARY KEY (operation_id, number)
)
"""


def upgrade() -> None:
    """Make the tables; compressing ids would only take time."""
    op.execute(OPERATION)
    op.execute("CREATE INDEX operation_open ON operation (id) WHERE status IN ('planning', 'running')")
    op.execute(PLAN_CHUNK)
    for column in ("job_ids", "expected", "versions", "positions"):
        op.execute(f"ALTER TABLE plan_chunk ALTER COLUMN {column} SET STORAGE EXTERNAL")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON operation, plan_chunk TO {ROLE}")
    op.execute("ALTER TABLE job ADD COLUMN bulk_positions bigint[]")
