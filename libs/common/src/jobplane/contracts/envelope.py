"""How commands, outcomes and events travel.

CloudEvents 1.0 in binary mode for events, one JSON object for commands and outcomes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal
from urllib.parse import quote, unquote

from pydantic import AwareDatetime, Field, JsonValue

from jobplane.contracts.actors import Actor
from jobplane.contracts.commands import AnyCommand
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.ids import CommandId, EventId, JobId, Position, Uuid
from jobplane.contracts.jobs import JobView
from jobplane.contracts.message import Fact, Message

REPLY_TO: Final = "Jobplane-Reply-To"
"""Header of a command: the inbox of its outcome (JetStream acknowledges to the message's own reply subject)."""
TRACEPARENT: Final = "traceparent"


class CommandMessage(Message):
    """A command on its way to the service that decides it; trace context and the outcome's inbox travel in headers."""

    command_id: CommandId
    """Deduplicates: a redelivery or a repeated Idempotency-Key finds the stored outcome."""
    actor: Actor
    """Who wants it; only the issuer ``gateway`` may assert a human."""
    reason: str | None = Field(default=None, max_length=1000, pattern=r"^[^\x00]*$")
    """Why, in the actor's words."""
    correlation_id: Uuid
    """Groups everything that one request caused."""
    causation_id: Uuid | None = None
    """The command or event that caused this command."""
    expected_version: int | None = None
    """Refuse with `version_conflict` unless the job has this version."""
    expires_at: AwareDatetime
    """After this instant the command is refused with `command_expired`."""
    body_digest: str | None = None
    """SHA-256 (hex) of what the caller sent.

    The same id with another digest is refused with `idempotency_key_reused`.
    """
    command: AnyCommand = Field(discriminator="type")
    """What is wanted."""


class CommandOutcome(Fact):
    """What became of a command; the same for a repeated command id."""

    command_id: CommandId
    """The command."""
    status: Literal["done", "refused"]
    """Whether events were recorded."""
    code: str | None = None
    """Why it was refused, or `already_exists` where a taken unique key returned the job that holds it."""
    detail: str | None = None
    """One sentence for people."""
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    """What the caller may need to go on: the current status, the holder of a unique key, the current version."""
    job_id: JobId | None = None
    """The job that it was about."""
    job: JobView | None = None
    """The job after it (after a refusal: as it is), if it exists; told only to the gateway, for people to see."""
    position: Position | None = None
    """Position of the last event that the command caused; none after a refusal."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """An event as its journal keeps it and as the bus carries it; `data` is the exact JSON text of the body."""

    position: int
    stream_id: str
    version: int
    type: str
    id: EventId
    command_id: str | None
    actor: Actor
    reason: str | None
    correlation_id: str
    causation_id: str | None
    traceparent: str
    at: datetime
    data: bytes
    operation_id: str | None = None
    """Of an event that was taken out of one that tells of many jobs: the bulk operation that it was part of."""

    @property
    def trace_id(self) -> str:
        """The W3C trace id: 32 hexadecimal digits."""
        return trace_id_of(self.traceparent)

    def body(self) -> dict[str, Any]:
        """The body, parsed."""
        parsed: dict[str, Any] = json.loads(self.data)
        return parsed


def trace_id_of(traceparent: str) -> str:
    """The trace id inside a W3C traceparent (``00-<trace id>-<span id>-<flags>``), empty when there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) >= 4 else ""  # noqa: PLR2004 - the four fields of a traceparent


def event_headers(event: EventRecord, source: str) -> dict[str, str]:
    """The CloudEvents headers of an event; `source` names the journal, e.g.

    ``jobplane/jobs``. Texts are percent-encoded.
    """
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event.id,
        "ce-type": event.type,
        "ce-source": source,
        "ce-subject": event.stream_id,
        "ce-time": event.at.isoformat(),
        "ce-sequence": str(event.position),
        "ce-streamversion": str(event.version),
        "ce-actor": event.actor.model_dump_json(exclude_none=True),
        "ce-correlationid": event.correlation_id,
        TRACEPARENT: event.traceparent,
    }
    if event.command_id:
        headers["ce-commandid"] = event.command_id
    if event.causation_id:
        headers["ce-causationid"] = event.causation_id
    if event.reason:
        headers["ce-reason"] = quote(event.reason, safe=" ")
    return headers


def event_from_message(headers: Mapping[str, str] | None, data: bytes) -> EventRecord:
    """The event that a bus message carries.

    Raises:
        InvalidMessage: a header is missing or unreadable.
    """
    try:
        h = headers or {}
        reason = h.get("ce-reason")
        return EventRecord(
            position=int(h["ce-sequence"]),
            stream_id=h["ce-subject"],
            version=int(h["ce-streamversion"]),
            type=h["ce-type"],
            id=EventId(h["ce-id"]),
            command_id=h.get("ce-commandid"),
            actor=_actor(h["ce-actor"]),
            reason=unquote(reason) if reason else None,
            correlation_id=h["ce-correlationid"],
            causation_id=h.get("ce-causationid"),
            traceparent=h.get(TRACEPARENT, ""),
            at=datetime.fromisoformat(h["ce-time"]),
            data=data,
        )
    except KeyError as error:
        msg = f"not a Jobplane event: the header {error.args[0]} is missing"
        raise InvalidMessage(msg) from error
    except ValueError as error:
        msg = f"not a Jobplane event: {error}"
        raise InvalidMessage(msg) from error


@lru_cache(maxsize=1024)
def _actor(text: str) -> Actor:
    """The actor in a header: a few act again and again."""
    return Actor.model_validate_json(text)
