"""Erasable bodies: payloads, results and error texts live here.

Events carry their reference and a salted digest only. Whatever leaves the service for people comes from `shown`.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from pydantic import JsonValue
from pydantic_core import to_json

from jobplane.contracts.ids import BodyRef
from jobplane.contracts.job_events import Body
from jobplane.jobs.redaction import Redaction


@dataclass(frozen=True, slots=True)
class NewBody:
    """A body to store beside the event that refers to it."""

    ref: BodyRef
    salt: bytes
    data: bytes

    @property
    def fact(self) -> Body:
        """What the event says of it."""
        return Body(ref=self.ref, digest=hashlib.sha256(self.salt + self.data).hexdigest())


def seal(event_id: str, value: JsonValue) -> NewBody:
    """A body whose reference is the id of its event."""
    return NewBody(BodyRef(event_id), os.urandom(16), to_json(value))


async def load(conn: AsyncConnection[Any], refs: Iterable[str | None]) -> Mapping[str, JsonValue]:
    """The bodies that still exist, parsed, by reference; with their secrets, as workers need them."""
    return {ref: json.loads(data) for ref, data in await _found(conn, refs)}


async def shown(
    conn: AsyncConnection[Any], refs: Iterable[str | None], redaction: Redaction, *, stacks: bool = True
) -> Mapping[str, JsonValue]:
    """As `load`, for people: without what the redaction hides, and perhaps without the stacks of errors."""
    return {ref: _shown(data, redaction, stacks=stacks) for ref, data in await _found(conn, refs)}


async def _found(conn: AsyncConnection[Any], refs: Iterable[str | None]) -> list[tuple[str, bytes]]:
    wanted = [ref for ref in refs if ref is not None]
    if not wanted:
        return []
    cursor = await conn.execute("SELECT ref, data FROM body WHERE ref = ANY(%s::uuid[])", (wanted,))
    return [(str(ref), data) for ref, data in await cursor.fetchall()]


def _shown(data: bytes, redaction: Redaction, *, stacks: bool) -> JsonValue:
    value: JsonValue = json.loads(data)
    if not stacks and isinstance(value, dict):
        value = {key: item for key, item in value.items() if key != "stack"}
    return redaction.shown(value) if redaction.may_hide(data) else value
