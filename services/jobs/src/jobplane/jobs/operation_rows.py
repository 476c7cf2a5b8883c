"""The operation row: an operation as its events tell it, and what only its row knows (cause, ids, cursor)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection
from pydantic import BaseModel

from jobplane.contracts.actors import Actor
from jobplane.contracts.operations import BulkAction, BulkEdit, Drift, OperationStatus
from jobplane.jobs.bulk import Operation

FIELDS: Final = tuple(field.name for field in fields(Operation))
"""The fields of an operation and its columns have the same names, in the same order."""
_JSON: Final = frozenset({"actor", "filter", "edit", "skipping", "drift"})
COLUMNS: Final = ", ".join(FIELDS)
_COUNTED: Final = frozenset({"id", "done", "codes"})
"""Only chunks move these."""
_SAVED: Final = tuple(name for name in FIELDS if name not in _COUNTED)
_SAVE: Final = f"""
UPDATE operation SET {", ".join(f"{name} = %s" + ("::json" if name in _JSON else "") for name in _SAVED)} WHERE id = %s
"""  # noqa: S608 - constants
_CAUSE: Final = ("command_id", "correlation_id", "traceparent", "ids")
_NEW: Final = tuple(name for name in FIELDS if name not in {"done", "codes"})
_INSERT: Final = f"""
INSERT INTO operation ({", ".join((*_NEW, *_CAUSE))})
VALUES ({", ".join("%s" + ("::json" if name in _JSON else "") for name in _NEW)}, %s, %s, %s, %s::uuid[])
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class RequestCause:
    """What asked for an operation: its events and those of its jobs continue it."""

    command_id: str
    correlation_id: str
    traceparent: str


async def load(conn: AsyncConnection[Any], operation_id: str, *, lock: bool) -> Operation | None:
    """An operation, if there is one of that id."""
    query = f"SELECT {COLUMNS} FROM operation WHERE id = %s{' FOR UPDATE' if lock else ''}"  # noqa: S608 - constants
    row = await (await conn.execute(query, (operation_id,))).fetchone()
    return None if row is None else operation_of(row)


async def undos_of(conn: AsyncConnection[Any], operation_id: str) -> list[Operation]:
    """The operations that were to take one back, newest first."""
    query = f"SELECT {COLUMNS} FROM operation WHERE undo_of = %s ORDER BY id DESC LIMIT 100"  # noqa: S608 - constants
    return [operation_of(row) for row in await (await conn.execute(query, (operation_id,))).fetchall()]


async def load_with_cause(
    conn: AsyncConnection[Any], operation_id: str
) -> tuple[Operation, Actor, RequestCause, datetime] | None:
    """An operation, locked, who acts in it and because of what, and the time after that."""
    query = f"""
    SELECT {COLUMNS}, coalesce(acting, actor), command_id, correlation_id, traceparent, clock_timestamp()
    FROM operation WHERE id = %s FOR UPDATE
    """  # noqa: S608 - constants
    row = await (await conn.execute(query, (operation_id,))).fetchone()
    return (
        None if row is None else (operation_of(row), Actor.model_validate(row[-5]), RequestCause(*row[-4:-1]), row[-1])
    )


async def insert(conn: AsyncConnection[Any], state: Operation, cause: RequestCause, ids: str | None) -> None:
    """Keep a new one; `ids` is an array literal of the jobs that were named."""
    told = [_value(state, name) for name in _NEW]
    await conn.execute(_INSERT, (*told, cause.command_id, cause.correlation_id, cause.traceparent, ids))


async def act(conn: AsyncConnection[Any], operation_id: str, actor: Actor, cause: RequestCause) -> None:
    """Somebody runs it: what it does from now on is caused by them."""
    statement = """
    UPDATE operation SET acting = %s::json, command_id = %s, correlation_id = %s, traceparent = %s WHERE id = %s
    """
    told = (actor.model_dump_json(exclude_none=True), cause.command_id, cause.correlation_id, cause.traceparent)
    await conn.execute(statement, (*told, operation_id))


async def save(conn: AsyncConnection[Any], state: Operation) -> None:
    """Keep what its latest events changed."""
    await conn.execute(_SAVE, (*(_value(state, name) for name in _SAVED), state.id))


def operation_of(row: Sequence[Any]) -> Operation:
    """The operation in the columns `COLUMNS`."""
    told = dict(zip(FIELDS, row, strict=False))
    told["action"], told["status"] = BulkAction(told["action"]), OperationStatus(told["status"])
    told["actor"] = Actor.model_validate(told["actor"])
    told["edit"] = BulkEdit.model_validate(told["edit"]) if told["edit"] else None
    told["drift"] = Drift.model_validate(told["drift"]) if told["drift"] else None
    return Operation(**told)


def _value(state: Operation, name: str) -> object:
    value = getattr(state, name)
    if name not in _JSON or value is None:
        return value
    return value.model_dump_json(exclude_none=True) if isinstance(value, BaseModel) else json.dumps(dict(value))
