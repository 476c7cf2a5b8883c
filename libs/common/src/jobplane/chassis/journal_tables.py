"""The tables of a journal, made by the migrations of each service that has one.

The service's role may only add events.
"""

from jobplane.chassis.migrations import Statements

_HEAD = """
CREATE TABLE journal_head (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    epoch integer NOT NULL DEFAULT 1,
    pos bigint NOT NULL DEFAULT 0,
    first_pos bigint NOT NULL DEFAULT 1,
    halted text
)
"""

_EVENT = """
CREATE TABLE event (
    pos bigint PRIMARY KEY,
    stream_id uuid NOT NULL,
    version integer NOT NULL,
    type text NOT NULL,
    schema_version smallint NOT NULL DEFAULT 1,
    id uuid NOT NULL,
    command_id uuid,
    actor json NOT NULL,
    reason text,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    traceparent text NOT NULL,
    at timestamptz NOT NULL,
    data json NOT NULL,
    UNIQUE (stream_id, version)
)
"""

_OUTCOME = """
CREATE TABLE command_outcome (
    command_id uuid PRIMARY KEY,
    body_digest text,
    status text,
    code text,
    detail text,
    facts json,
    job_id uuid,
    position bigint,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


def create(op: Statements, role: str) -> None:
    """Make head and events in the current schema; `role` may read and add events, and move the head."""
    op.execute(_HEAD)
    op.execute("INSERT INTO journal_head DEFAULT VALUES")
    op.execute(_EVENT)
    op.execute(f"REVOKE ALL ON event, journal_head FROM {role}")
    op.execute(f"GRANT SELECT, INSERT ON event TO {role}")
    op.execute(f"GRANT SELECT, UPDATE ON journal_head TO {role}")


def create_outcomes(op: Statements, role: str) -> None:
    """Make the table that remembers what became of each command."""
    op.execute(_OUTCOME)
    op.execute("CREATE INDEX command_outcome_at ON command_outcome (at)")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON command_outcome TO {role}")
