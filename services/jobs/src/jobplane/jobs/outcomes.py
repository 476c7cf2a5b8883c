"""What became of each command, kept for seven days: a redelivery or a repeated key finds it instead of acting twice."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from psycopg import AsyncConnection, AsyncCursor
from pydantic import JsonValue

from jobplane.chassis.journal import LockOrder, Transaction
from jobplane.contracts.ids import JobId
from jobplane.jobs.decider import AlreadyThere, Rejected

if TYPE_CHECKING:
    from jobplane.jobs.wishes import Delivered, Settled

KEPT: Final = "7 days"

KEY_REUSED: Final = Rejected(
    "idempotency_key_reused", "This Idempotency-Key was used for another request: take a fresh key for a new request."
)
"""Never stored: the outcome of the first request stays."""

_COLUMNS: Final = "command_id, body_digest, status, code, detail, facts, job_id, position"


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


@dataclass(slots=True)
class Claims:
    """The command ids of a transaction, claimed; those that were decided before come with their outcome."""

    _cursor: AsyncCursor[Any]

    async def stored(self) -> dict[str, Stored]:
        """The outcomes that were there already, by command id."""
        return {row[0]: _stored(row) for row in await self._cursor.fetchall()}


async def claim(tx: Transaction, commands: Sequence["Delivered"]) -> Claims | None:
    """Lock the ids of some commands (sorted): whoever works on one of them waits for the other to finish."""
    if not commands:
        return None
    tx.locking(LockOrder.COMMANDS)
    ids = sorted({command.command_id for command in commands})
    await tx.conn.execute(
        "INSERT INTO command_outcome (command_id) SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING", (ids,)
    )
    query = f"SELECT {_COLUMNS} FROM command_outcome WHERE command_id = ANY(%s::uuid[]) AND status IS NOT NULL"  # noqa: S608 - constants
    return Claims(await tx.conn.execute(query, (ids,)))


async def store(tx: Transaction, decided: Sequence["Settled"]) -> None:
    """Keep the outcomes of the commands decided in this transaction."""
    values = []
    for settled in decided:
        outcome, delivered = of(settled), settled.wish.delivered
        if delivered is not None:
            facts = json.dumps(outcome.facts)
            told = (outcome.body_digest, outcome.status, outcome.code, outcome.detail, facts, outcome.job_id)
            values.append((*told, outcome.position, delivered.command_id))
    if not values:
        return
    async with tx.conn.cursor() as cursor:
        await cursor.executemany(
            "UPDATE command_outcome SET body_digest = %s, status = %s, code = %s, detail = %s, facts = %s, "
            "job_id = %s, position = %s WHERE command_id = %s",
            values,
        )


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
    query = f"SELECT {_COLUMNS} FROM command_outcome WHERE command_id = %s AND status IS NOT NULL"  # noqa: S608 - constants
    row = await (await conn.execute(query, (command_id,))).fetchone()
    return None if row is None else _stored(row)


def _stored(row: Sequence[Any]) -> Stored:
    return Stored(row[1], row[2], row[3], row[4], row[5] or {}, row[6], row[7])
