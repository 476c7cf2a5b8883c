"""What an event means for the AuditLog: one entry with exactly one action for each thing that it tells of."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, assert_never

from pydantic import JsonValue, ValidationError

from jobplane.contracts.actors import Actor
from jobplane.contracts.admin_events import (
    ADMIN_EVENTS,
    AnyAdminEvent,
    AssetUploaded,
    DeadLetterDiscarded,
    DeadLetterEvent,
    DeadLetterInspected,
    DeadLetterReplayed,
    JobRevealed,
    LoggedOut,
    LoginFailed,
    LoginSucceeded,
    PasswordReset,
    RequestRefused,
    UserCreated,
)
from jobplane.contracts.audit import AuditAction
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage
from jobplane.contracts.expansion import parsed
from jobplane.contracts.job_events import (
    JOB_EVENTS,
    AnyJobEvent,
    CommandRefused,
    JobArchived,
    JobCancelled,
    JobCompleted,
    JobCreated,
    JobEdited,
    JobEvent,
    JobFailed,
    JobFinishedAnyway,
    JobForceRun,
    JobOrphaned,
    JobReleased,
    JobRestored,
    JobRetried,
    JobStarted,
    JobStopConfirmed,
    JobStopUnconfirmed,
)
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.operations import (
    OPERATION_EVENTS,
    AnyOperationEvent,
    JobsChanged,
    OperationEvent,
    OperationFailed,
    OperationFinished,
    OperationPaused,
    OperationPlanned,
    OperationRequested,
    OperationResumed,
    OperationStarted,
    OperationStopped,
)
from jobplane.contracts.queues import (
    QUEUE_EVENTS,
    AnyQueueEvent,
    LimitsFact,
    QueueEvent,
    QueueLimited,
    QueuePaused,
    QueueResumed,
)
from jobplane.contracts.topology import EVT_ADMIN, EVT_JOBS

AuditedEvent = AnyJobEvent | AnyQueueEvent | AnyOperationEvent | AnyAdminEvent | CommandRefused

AUDITED: Final[Mapping[str, Mapping[str, type[AuditedEvent]]]] = {
    EVT_JOBS: {**JOB_EVENTS, **QUEUE_EVENTS, **OPERATION_EVENTS, CommandRefused.TYPE: CommandRefused},
    EVT_ADMIN: dict(ADMIN_EVENTS),
}
"""By stream: every event it may carry, by type; but for those that tell of many jobs (`JobsChanged`)."""

ACTIONS: Final[Mapping[str, AuditAction]] = {
    JobCreated.TYPE: AuditAction.JOB_CREATED,
    JobStarted.TYPE: AuditAction.JOB_STARTED,
    JobReleased.TYPE: AuditAction.JOB_RELEASED,
    JobCompleted.TYPE: AuditAction.JOB_COMPLETED,
    JobFailed.TYPE: AuditAction.JOB_FAILED,
    JobOrphaned.TYPE: AuditAction.JOB_ORPHANED,
    JobRetried.TYPE: AuditAction.JOB_RETRY,
    JobCancelled.TYPE: AuditAction.JOB_CANCELLED,
    JobStopConfirmed.TYPE: AuditAction.JOB_STOP_CONFIRMED,
    JobFinishedAnyway.TYPE: AuditAction.JOB_FINISHED_ANYWAY,
    JobStopUnconfirmed.TYPE: AuditAction.JOB_STOP_UNCONFIRMED,
    JobForceRun.TYPE: AuditAction.JOB_FORCE_RUN,
    JobRestored.TYPE: AuditAction.JOB_RESTORED,
    JobEdited.TYPE: AuditAction.JOB_EDITED,
    JobArchived.TYPE: AuditAction.JOB_ARCHIVED,
    QueuePaused.TYPE: AuditAction.QUEUE_PAUSED,
    QueueResumed.TYPE: AuditAction.QUEUE_RESUMED,
    QueueLimited.TYPE: AuditAction.QUEUE_LIMITED,
    CommandRefused.TYPE: AuditAction.COMMAND_REFUSED,  # the gateway's RequestRefused has the same type
    OperationRequested.TYPE: AuditAction.BULK_REQUESTED,
    OperationPlanned.TYPE: AuditAction.BULK_PLANNED,
    OperationStarted.TYPE: AuditAction.BULK_STARTED,
    OperationPaused.TYPE: AuditAction.BULK_PAUSED,
    OperationResumed.TYPE: AuditAction.BULK_RESUMED,
    OperationStopped.TYPE: AuditAction.BULK_STOPPED,
    OperationFinished.TYPE: AuditAction.BULK_FINISHED,
    OperationFailed.TYPE: AuditAction.BULK_FAILED,
    UserCreated.TYPE: AuditAction.USER_CREATED,
    PasswordReset.TYPE: AuditAction.PASSWORD_RESET,
    LoginSucceeded.TYPE: AuditAction.LOGIN_SUCCEEDED,
    LoginFailed.TYPE: AuditAction.LOGIN_FAILED,
    LoggedOut.TYPE: AuditAction.LOGGED_OUT,
    AssetUploaded.TYPE: AuditAction.ASSET_UPLOADED,
    JobRevealed.TYPE: AuditAction.JOB_REVEALED,
    DeadLetterInspected.TYPE: AuditAction.DEAD_LETTER_INSPECTED,
    DeadLetterReplayed.TYPE: AuditAction.DEAD_LETTER_REPLAYED,
    DeadLetterDiscarded.TYPE: AuditAction.DEAD_LETTER_DISCARDED,
}
"""Event type → action: total over everything in `AUDITED`."""

_UUID_FORM: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_UUID: Final = re.compile(_UUID_FORM)
_TWO_UUIDS: Final = re.compile(f"{_UUID_FORM} {_UUID_FORM}")
_TRACED: Final = re.compile(r"[^-]*-([0-9a-f]{32})-[^-]*-")


class AuditEntry(NamedTuple):
    """One entry before it has its position in the log; `(source, source_position, index)` is its key for ever.

    A tuple, because one is made for every event there is: a frozen dataclass takes five times as long.
    """

    source: str
    source_position: int
    number: int
    """Number within an event that tells of several things; 0 for the only one."""
    at: datetime
    action: AuditAction
    actor: Actor
    reason: str | None
    target_type: str
    target_id: str | None
    before: str | None
    after: str | None
    refused: bool
    code: str | None
    command_id: str | None
    correlation_id: str
    trace_id: str
    """32 hexadecimal digits, or empty when the event names no valid trace."""
    times: int
    operation_id: str | None = None
    """The bulk operation that it is of or about."""
    command: str | None = None
    """What was refused: the verb, or the method and the route."""


class _Facts(NamedTuple):
    """What the body of an event adds to its envelope."""

    target_type: str
    target_id: str | None
    before: str | None = None
    after: str | None = None
    refused: bool = False
    code: str | None = None
    times: int = 1
    command: str | None = None


def entries(event: EventRecord, source: str) -> list[AuditEntry]:
    """The entries of an event that was read from the stream `source`: one, or one for each job that it tells of.

    Raises:
        InvalidMessage: the type is unknown in that stream, or the body or an id is not what the contract says.
    """
    return _of_many(event, source) if event.type == JobsChanged.TYPE and source == EVT_JOBS else [entry(event, source)]


def _of_many(event: EventRecord, source: str) -> list[AuditEntry]:
    """One entry for each job, as its own event would have made it; read without a model, for they come by thousands."""
    _require_ids(event)
    body = parsed(event)
    shared, event_type = body["shared"], body.get("type")
    if event_type not in JOB_EVENTS:
        raise InvalidMessage(f"{source} carries events of unknown type {event_type!r} in one")
    told = (source, event.position)
    meant = (event.at, ACTIONS[event_type], event.actor, event.reason, "job")
    trace = _trace_id(event.traceparent)
    caused = (False, None, event.command_id, event.correlation_id, trace, 1, event.stream_id, None)
    made: list[AuditEntry] = []
    is_id, make = _UUID.fullmatch, AuditEntry._make
    before_all, after_all = shared.get("before"), shared.get("after")
    try:
        for number, item in enumerate(body["items"]):
            job = item["job"]
            if is_id(job) is None:
                raise InvalidMessage("the job of an item is a UUID")
            stood: tuple[str, str] = (
                (_STATUSES[item.get("before", before_all)], _STATUSES[item.get("after", after_all)])
                if event_type != JobEdited.TYPE
                else _edit_of(shared | item)
            )
            made.append(make((*told, number, *meant, job, *stood, *caused)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidMessage(f"body of {event.type} is not as declared: {error}") from error
    return made


def entry(event: EventRecord, source: str) -> AuditEntry:
    """The entry of an event that was read from the stream `source`.

    Raises:
        InvalidMessage: the type is unknown in that stream, or the body or an id is not what the contract says.
    """
    known = AUDITED.get(source, {}).get(event.type)
    if known is None:
        raise InvalidMessage(f"{source} carries an event of unknown type {event.type!r}")
    _require_ids(event)
    try:
        body = known.model_validate_json(event.data)
    except ValidationError as error:
        raise InvalidMessage(f"body of {event.type} is not as declared: {_first_fault(error)}") from error
    facts = _facts(body, event.stream_id)
    about_one = facts.target_type == "operation" and is_uuid(facts.target_id or "")
    return AuditEntry(
        source,
        event.position,
        0,
        event.at,
        ACTIONS[event.type],
        event.actor,
        event.reason,
        facts.target_type,
        facts.target_id,
        facts.before,
        facts.after,
        facts.refused,
        facts.code,
        event.command_id,
        event.correlation_id,
        _trace_id(event.traceparent),
        facts.times,
        facts.target_id if about_one else event.operation_id,
        facts.command,
    )


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in its canonical form."""
    return _UUID.fullmatch(text) is not None


def _facts(body: AuditedEvent, stream_id: str) -> _Facts:  # noqa: PLR0911 - one case per sort of event
    match body:
        case JobEdited():
            was, now = (side.model_dump(mode="json") for side in (body.was, body.now))
            return _Facts("job", stream_id, *edit_in_words(body.changed, was, now))
        case JobEvent():
            error = body.error if isinstance(body, JobFailed | JobOrphaned) else None
            return _Facts("job", stream_id, body.before, body.after, code=error.type if error else None)
        case QueueEvent():
            return _queue_facts(body)
        case CommandRefused() | RequestRefused():
            # nothing changed: the target is after it what it was before
            status = body.status if isinstance(body, CommandRefused) else None
            return _Facts(
                body.target_type,
                body.target_id,
                status,
                status,
                refused=True,
                code=body.code,
                times=body.count,
                command=body.command,
            )
        case LoginFailed():
            return _Facts("user", body.account_id, refused=True, code=body.code, times=body.count)
        case OperationEvent():
            code = body.code if isinstance(body, OperationFailed) else None
            return _Facts("operation", stream_id, after=_STANDS.get(body.TYPE), code=code, times=_jobs_of(body))
        case UserCreated() | PasswordReset() | LoginSucceeded() | LoggedOut():
            return _Facts("user", stream_id, after=body.role if isinstance(body, UserCreated) else None)
        case AssetUploaded() | JobRevealed():
            return _Facts("asset", stream_id) if isinstance(body, AssetUploaded) else _Facts("job", body.job_id)
        case DeadLetterEvent():
            return _Facts("dead_letter", str(body.seq))
        case _:
            assert_never(body)


def _queue_facts(body: QueueEvent) -> _Facts:
    sort, name = ("queue", body.queue) if body.kind is None else ("kind", body.kind)
    match body:
        case QueuePaused():
            return _Facts(sort, name, "active", "draining" if body.drain else "paused")
        case QueueResumed():
            return _Facts(sort, name, "paused", "active")
        case QueueLimited():
            return _Facts(sort, name, _limits_in_words(body.before), _limits_in_words(body.after))
        case _:
            raise TypeError(body)


def _jobs_of(body: OperationEvent) -> int:
    """How many jobs it is about, or has changed when it ends."""
    match body:
        case OperationPlanned() | OperationStarted():
            return body.total
        case OperationFinished() | OperationStopped():
            return body.done
        case _:
            return 1


def _limits_in_words(limits: LimitsFact) -> str:
    parts = [] if limits.concurrency is None else [f"at most {limits.concurrency} at once"]
    if limits.rate is not None:
        rate = limits.rate
        parts.append(f"{rate.starts} starts in {rate.every_s} s, bursts of {rate.burst}")
    return ", ".join(parts) or "unlimited"


def _edit_of(item: Mapping[str, Any]) -> tuple[str, str]:
    return edit_in_words(item["changed"], item["was"], item["now"])


def edit_in_words(
    changed: Sequence[str], was: Mapping[str, JsonValue], now: Mapping[str, JsonValue]
) -> tuple[str, str]:
    """What an edit changed, before and after; of a payload only that it is another one."""
    before = [_PAYLOAD if name == _PAYLOAD else _told(name, was[name]) for name in changed]
    after = [f"another {_PAYLOAD}" if name == _PAYLOAD else _told(name, now[name]) for name in changed]
    return ", ".join(before), ", ".join(after)


def _told(name: str, value: JsonValue) -> str:
    # instants of chunks are written by PostgreSQL, with their offset
    return f"{_EDITED[name]} {value}".replace("+00:00", "Z")


_PAYLOAD: Final = "payload"
_EDITED: Final = {"queue": "queue", "priority": "priority", "run_at": "due", "max_attempts": "attempts allowed:"}
"""Each field that an edit may change, in words."""
_STATUSES: Final[Mapping[object, JobStatus]] = {status.value: status for status in JobStatus}
"""Looked up, not made: that takes a tenth of the time."""
_STANDS: Final = {
    OperationRequested.TYPE: "planning",
    OperationPlanned.TYPE: "planned",
    OperationStarted.TYPE: "running",
    OperationPaused.TYPE: "paused",
    OperationResumed.TYPE: "running",
    OperationStopped.TYPE: "stopped",
    OperationFinished.TYPE: "done",
    OperationFailed.TYPE: "failed",
}
"""Where an operation stands after its events."""


def _require_ids(event: EventRecord) -> None:
    """Ids become keys of a table: refuse what no journal can have written."""
    if _TWO_UUIDS.fullmatch(f"{event.stream_id} {event.correlation_id}") is None:
        wrong = "correlation id" if is_uuid(event.stream_id) else "subject"
        raise InvalidMessage(f"the {wrong} of an event is a UUID")
    if event.command_id is not None and not is_uuid(event.command_id):
        raise InvalidMessage("the command id of an event is a UUID")
    if event.at.tzinfo is None:
        raise InvalidMessage("the time of an event has an offset")


def _trace_id(traceparent: str) -> str:
    found = _TRACED.match(traceparent)
    return found[1] if found else ""


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}"
