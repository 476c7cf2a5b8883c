"""The AuditLog, what could not become an entry of it, and the checkpoints of its projections.

Revision ID: 0001_audit_log
"""

from alembic import op

from jobplane.chassis import dead_event_tables, projection_tables

revision = "0001_audit_log"
down_revision = None
branch_labels = None
depends_on = None

ROLE = "jobplane_audit"

# Wide columns of fixed size come first, so that nothing is lost to alignment: an entry of a job takes about 150 bytes.
AUDIT_LOG = """
CREATE TABLE audit_log (
    position bigint PRIMARY KEY,
    source_position bigint NOT NULL,
    at timestamptz NOT NULL,
    correlation_id uuid NOT NULL,
    trace_id uuid,
    command_id uuid,
    target_id uuid,
    count integer NOT NULL,
    index smallint NOT NULL,
    refused boolean NOT NULL,
    source text NOT NULL,
    action text NOT NULL,
    actor_id text NOT NULL,
    actor_kind text NOT NULL,
    target_type text NOT NULL,
    before text,
    after text,
    actor_role text,
    actor_origin text,
    target_name text,
    code text,
    reason text,
    UNIQUE (source, source_position, index)
)
"""

# Every index costs each entry about 30 bytes and a tenth of the speed, so there are few: routine actions are most of
# the log and soon found by walking back from its end; only the others have an index by action.
INDEXES = (
    "CREATE INDEX audit_log_target ON audit_log (target_id, position) WHERE target_id IS NOT NULL",
    "CREATE INDEX audit_log_target_name ON audit_log (target_name, position) WHERE target_name IS NOT NULL",
    "CREATE INDEX audit_log_actor ON audit_log (actor_id, position)",
    "CREATE INDEX audit_log_correlation ON audit_log (correlation_id, position)",
    "CREATE INDEX audit_log_command ON audit_log (command_id, position) WHERE command_id IS NOT NULL",
    "CREATE INDEX audit_log_refused ON audit_log (position) WHERE refused",
    "CREATE INDEX audit_log_rare_action ON audit_log (action, position)"
    " WHERE action NOT IN ('JOB_CREATED', 'JOB_STARTED', 'JOB_COMPLETED')",
)

# Gives out positions: whoever moves it holds it until the commit, so positions have no gap and follow the commits.
HEAD = """
CREATE TABLE audit_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    position bigint NOT NULL DEFAULT 0
)
"""

# Turns a span of time into a span of positions: one row per hour instead of an index on the time of every entry.
HOUR = """
CREATE TABLE audit_hour (
    hour timestamptz PRIMARY KEY,
    first_position bigint NOT NULL,
    last_position bigint NOT NULL
)
"""


def upgrade() -> None:
    for statement in (AUDIT_LOG, *INDEXES, HEAD, "INSERT INTO audit_head DEFAULT VALUES", HOUR):
        op.execute(statement)
    # entries are never changed and never deleted by the service that writes them
    op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM {ROLE}")
    op.execute(f"GRANT SELECT, INSERT ON audit_log TO {ROLE}")
    op.execute(f"REVOKE INSERT, DELETE, TRUNCATE ON audit_head FROM {ROLE}")
    op.execute(f"GRANT SELECT, UPDATE ON audit_head TO {ROLE}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON audit_hour TO {ROLE}")
    projection_tables.create(op, ROLE)
    dead_event_tables.create(op, ROLE)
