"""Erasable bodies: payloads, results and error texts live here.

Events carry their reference and a salted digest only.
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
    """The bodies that still exist, parsed, by reference."""
    wanted = [ref for ref in refs if ref is not None]
    if not wanted:
        return {}
    cursor = await conn.execute("SELECT ref, data FROM body WHERE ref = ANY(%s::uuid[])", (wanted,))
    return {str(ref): json.loads(data) for ref, data in await cursor.fetchall()}
