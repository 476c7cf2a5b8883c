"""The identifiers of the platform, as distinct types over text (canonical lower-case UUIDs unless said)."""

from typing import NewType

JobId = NewType("JobId", str)
CommandId = NewType("CommandId", str)
EventId = NewType("EventId", str)
BodyRef = NewType("BodyRef", str)
"""Key of an erasable body (payload, result, error text) kept by its owner; the id of the event that brought it."""
WorkerName = NewType("WorkerName", str)
"""Instance name of a worker process, e.g. ``worker-1`` (letters, digits, ``_`` and ``-``)."""
QueueName = NewType("QueueName", str)
Position = NewType("Position", int)
"""Gapless number of an event in its journal, equal to its sequence in the stream; the first event has 1."""
