"""How a queue, or a kind in all queues, is controlled: what is decided about it, and what each event does to it.

No clock, no dice, no I/O. What may start under control is worked out in `allowance`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self, assert_never

from pydantic import JsonValue

from jobplane.contracts import instants
from jobplane.contracts.actors import Actor
from jobplane.contracts.queues import (
    AnyQueueCommand,
    AnyQueueEvent,
    LimitQueue,
    Limits,
    LimitsFact,
    LimitsSet,
    Pause,
    PauseQueue,
    QueueControl,
    QueueLimited,
    QueuePaused,
    QueueResumed,
    QueueState,
    ResumeQueue,
    stream_of,
)
from jobplane.jobs.decider import Rejected

REFUSALS: Final[Mapping[str, str]] = {
    "already_paused": "It is paused already: resume it first, or leave it as it is.",
    "not_paused": "It is not paused: there is nothing to resume.",
    "nothing_to_change": "It has exactly these limits already: ask for other ones.",
}
"""Every code that `decide` refuses with, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is controlled."""

    sort: str
    """``queue`` or ``kind``."""
    name: str

    @classmethod
    def of(cls, what: AnyQueueCommand | AnyQueueEvent) -> Self:
        """The queue or kind that a command or an event names."""
        return cls("queue", what.queue or "") if what.kind is None else cls("kind", what.kind)

    @property
    def key(self) -> str:
        """Its key in the table."""
        return f"{self.sort}:{self.name}"

    @property
    def stream_id(self) -> str:
        """The stream of its events."""
        return stream_of(self.sort, self.name)

    @property
    def queue(self) -> str | None:
        """The queue, if it is one."""
        return self.name if self.sort == "queue" else None

    @property
    def kind(self) -> str | None:
        """The kind, if it is one."""
        return self.name if self.sort == "kind" else None


@dataclass(frozen=True, slots=True)
class Control:
    """A queue or kind as its events tell it; one that nobody controlled yet has version 0."""

    target: Target
    version: int = 0
    paused: Pause | None = None
    limits: LimitsSet | None = None

    @property
    def active(self) -> bool:
        """Whether anything of it keeps jobs from starting."""
        return self.paused is not None or self.limits is not None

    @property
    def limited(self) -> Limits:
        """The limits themselves."""
        found = self.limits
        return Limits() if found is None else Limits(concurrency=found.concurrency, rate=found.rate)


@dataclass(frozen=True, slots=True)
class Meta:
    """What the journal knows of an event beside its body."""

    version: int
    at: datetime
    actor: Actor
    reason: str | None


def decide(command: AnyQueueCommand, state: Control) -> AnyQueueEvent | Rejected:
    """What a command does.

    A queue need not have jobs yet: one may be paused, or limited, before the first arrives.
    """
    queue, kind = state.target.queue, state.target.kind
    match command:
        case PauseQueue():
            if state.paused is not None and (state.paused.drain or not command.drain):
                return _refuse("already_paused", since=instants.written(state.paused.at))
            return QueuePaused(queue=queue, kind=kind, drain=command.drain)
        case ResumeQueue():
            return _refuse("not_paused") if state.paused is None else QueueResumed(queue=queue, kind=kind)
        case LimitQueue():
            if command.limits == state.limited:
                return _refuse("nothing_to_change")
            before, after = _fact(state.limited), _fact(command.limits)
            return QueueLimited(queue=queue, kind=kind, before=before, after=after)
        case _:
            assert_never(command)


def evolve(state: Control, event: AnyQueueEvent, meta: Meta) -> Control:
    """The control after one more event."""
    match event:
        case QueuePaused():
            return replace(state, version=meta.version, paused=_paused(state.paused, event, meta))
        case QueueResumed():
            return replace(state, version=meta.version, paused=None)
        case QueueLimited():
            return replace(state, version=meta.version, limits=_limits(event.after, meta))
        case _:
            assert_never(event)


def told(state: Control, running: int, *, known: bool) -> QueueControl:
    """The control as everybody sees it; `known` as in `QueueControl`."""
    return QueueControl(
        queue=state.target.queue,
        kind=state.target.kind,
        state=_state(state, running),
        running=running,
        paused=state.paused,
        limits=state.limits,
        version=state.version,
        known=known,
    )


def _state(state: Control, running: int) -> QueueState:
    if state.paused is None:
        return QueueState.ACTIVE
    if not state.paused.drain:
        return QueueState.PAUSED
    return QueueState.DRAINING if running else QueueState.DRAINED


def _paused(before: Pause | None, event: QueuePaused, meta: Meta) -> Pause:
    """A pause that becomes a drain lasts since it began, and keeps its reason unless there is a new one."""
    if before is None:
        return Pause(at=meta.at, by=meta.actor, reason=meta.reason, drain=event.drain)
    return before.model_copy(update={"drain": event.drain, "reason": meta.reason or before.reason})


def _limits(after: LimitsFact, meta: Meta) -> LimitsSet | None:
    if after.concurrency is None and after.rate is None:
        return None
    return LimitsSet(concurrency=after.concurrency, rate=after.rate, at=meta.at, by=meta.actor, reason=meta.reason)


def _fact(limits: Limits) -> LimitsFact:
    return LimitsFact(concurrency=limits.concurrency, rate=limits.rate)


def _refuse(code: str, **facts: JsonValue) -> Rejected:
    return Rejected(code, REFUSALS[code], facts)
