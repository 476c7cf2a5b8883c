"""What became of each command, kept for seven days: a redelivery or a repeated key finds it instead of acting twice."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from psycopg import AsyncConnection
from pydantic import JsonValue

from jobplane.contracts import instants
from jobplane.contracts.ids import JobId
from jobplane.jobs.decisions import AlreadyThere, Rejected
from jobplane.jobs.past import archived_at, who_changed

if TYPE_CHECKING:
    from jobplane.jobs.wishes import Settled

KEPT: Final = "7 days"

KEY_REUSED: Final = Rejected(
    "idempotency_key_reused", "This Idempotency-Key was used for another request: take a fresh key for a new request."
)
"""Never stored: the outcome of the first request stays."""

EXPIRED: Final = Rejected(
    "command_expired",
    "The command was not decided in time: look at the job, then send it again if still wanted.",
)

VERSION_CONFLICT: Final = "version_conflict"
"""The code whose facts say who was faster; see `explained`."""

NOT_FOUND: Final = "job_not_found"

ARCHIVED: Final = Rejected(
    "job_archived", "The job was archived: its history is still there, copy it if it should run again."
)
"""Told instead of `job_not_found` where the journal knows the job; see `explained`."""

COLUMNS: Final = "command_id, body_digest, status, code, detail, facts, job_id, position"


@dataclass(frozen=True, slots=True)
class Stored:
    """The outcome of a command that was decided before."""

    body_digest: str | None
    status: Literal["done", "refused"]
    code: str | None = None
    detail: str | None = None
    facts: dict[str, JsonValue] = field(default_factory=dict)
    job_id: JobId | None = None
    position: int | None = None


def of(settled: "Settled") -> Stored:
    """The outcome of a settled command."""
    decision, wish = settled.decision, settled.wish
    digest = wish.delivered.body_digest if wish.delivered else None
    match decision:
        case Stored():
            return decision
        case Rejected():
            return Stored(digest, "refused", decision.code, decision.detail, dict(decision.facts), wish.command.job_id)
        case AlreadyThere():
            return Stored(digest, "done", "already_exists", None, {}, decision.job_id)
        case _:
            return Stored(digest, "done", job_id=wish.command.job_id, position=settled.position)


async def load(conn: AsyncConnection[Any], command_id: str) -> Stored | None:
    """The outcome of a command, if it has one."""
    query = f"SELECT {COLUMNS} FROM command_outcome WHERE command_id = %s AND status IS NOT NULL"  # noqa: S608 - constants
    row = await (await conn.execute(query, (command_id,))).fetchone()
    return None if row is None else stored(row)


def worth_explaining(told: Stored) -> bool:
    """Whether the journal may know more of a refusal."""
    return told.code in {VERSION_CONFLICT, NOT_FOUND} and told.job_id is not None


async def explained(conn: AsyncConnection[Any], told: Stored) -> Stored:
    """A refusal with what the journal knows: who changed the job and when, or that it was archived; others as they are.

    Looked up when it is told, not when it is decided: events never change, and hardly anybody needs it.
    """
    if told.job_id is None or not worth_explaining(told):
        return told
    version = told.facts.get("version")
    if told.code == VERSION_CONFLICT and isinstance(version, int):
        return replace(told, facts=told.facts | await who_changed(conn, told.job_id, version))
    at = await archived_at(conn, told.job_id) if told.code == NOT_FOUND else None
    if at is None:
        return told
    facts = told.facts | {"archived_at": instants.written(at)}
    return replace(told, code=ARCHIVED.code, detail=ARCHIVED.detail, facts=facts)


def stored(row: Sequence[Any]) -> Stored:
    """The outcome in the columns `COLUMNS`."""
    return Stored(row[1], row[2], row[3], row[4], row[5] or {}, row[6], row[7])
