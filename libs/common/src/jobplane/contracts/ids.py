"""The identifiers of the platform, as distinct types over text (canonical lower-case UUIDs unless said)."""

from typing import Annotated, NewType

from pydantic import Field

Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""Canonical lower-case text of a UUID."""

JobId = NewType("JobId", Uuid)
CommandId = NewType("CommandId", Uuid)
EventId = NewType("EventId", Uuid)
BodyRef = NewType("BodyRef", Uuid)
"""Key of an erasable body (payload, result, error text) kept by its owner; the id of the event that brought it."""
WorkerName = NewType("WorkerName", str)
"""Instance name of a worker process, e.g. ``worker-1`` (letters, digits, ``_`` and ``-``)."""
QueueName = NewType("QueueName", str)
Position = NewType("Position", int)
"""Gapless number of an event in its journal, equal to its sequence in the stream; the first event has 1."""
