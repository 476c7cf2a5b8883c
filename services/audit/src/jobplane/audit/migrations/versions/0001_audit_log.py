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

# A new stream or action needs a migration (ALTER TYPE … ADD VALUE); a test compares them with the contract. As text
# they would take a fifth of the log.
TYPES = (
    "CREATE TYPE audit_source AS ENUM ('EVT_JOBS', 'EVT_ADMIN')",
    """
    CREATE TYPE audit_action AS ENUM (
        'JOB_CREATED', 'JOB_STARTED', 'JOB_COMPLETED', 'JOB_FAILED', 'JOB_RETRY', 'JOB_CANCELLED', 'JOB_FORCE_RUN',
        'JOB_RELEASED', 'JOB_ORPHANED', 'JOB_STOP_CONFIRMED', 'JOB_FINISHED_ANYWAY', 'JOB_STOP_UNCONFIRMED',
        'USER_CREATED', 'PASSWORD_RESET', 'LOGIN_SUCCEEDED', 'LOGIN_FAILED', 'LOGGED_OUT', 'COMMAND_REFUSED',
        'ASSET_UPLOADED'
    )
    """,
)

# Columns of fixed size come first, the widest before all, so that nothing is lost to alignment. Positions only grow, so
# that the pages of their indexes may be filled to the brim.
AUDIT_LOG = """
CREATE TABLE audit_log (
    position bigint PRIMARY KEY WITH (fillfactor = 100),
    source_position bigint NOT NULL,
    at timestamptz NOT NULL,
    correlation_id uuid NOT NULL,
    trace_id uuid,
    command_id uuid,
    target_id uuid,
    source audit_source NOT NULL,
    action audit_action NOT NULL,
    count integer NOT NULL,
    index smallint NOT NULL,
    refused boolean NOT NULL,
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
    UNIQUE (source_position, source, index) WITH (fillfactor = 100)
)
"""

# Every index costs each entry room and speed. Few entries share a target, a correlation or a command: their indexes
# leave out the position, so that equal keys are stored once. Of a person's id the index has a hash: 8 bytes instead of
# 37. Routine actions and workers are most of the log and soon found by walking back from its end; only the others have
# an index, in the order of the log.
INDEXES = (
    "CREATE INDEX audit_log_target ON audit_log (target_id) WHERE target_id IS NOT NULL",
    "CREATE INDEX audit_log_target_name ON audit_log (target_name) WHERE target_name IS NOT NULL",
    "CREATE INDEX audit_log_correlation ON audit_log (correlation_id)",
    "CREATE INDEX audit_log_command ON audit_log (command_id) WHERE command_id IS NOT NULL",
    "CREATE INDEX audit_log_person ON audit_log (hashtextextended(actor_id, 0), position)"
    " WHERE actor_kind NOT IN ('worker', 'system')",
    "CREATE INDEX audit_log_machine ON audit_log USING brin (actor_id text_bloom_ops) WITH (autosummarize = on)",
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
    for statement in (*TYPES, AUDIT_LOG, *INDEXES, HEAD, "INSERT INTO audit_head DEFAULT VALUES", HOUR):
        op.execute(statement)
    # entries are never changed and never deleted by the service that writes them
    op.execute(f"REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM {ROLE}")
    op.execute(f"GRANT SELECT, INSERT ON audit_log TO {ROLE}")
    op.execute(f"REVOKE INSERT, DELETE, TRUNCATE ON audit_head FROM {ROLE}")
    op.execute(f"GRANT SELECT, UPDATE ON audit_head TO {ROLE}")
    op.execute(f"REVOKE DELETE, TRUNCATE ON audit_hour FROM {ROLE}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE ON audit_hour TO {ROLE}")
    projection_tables.create(op, ROLE)
    dead_event_tables.create(op, ROLE)
