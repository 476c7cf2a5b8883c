"""The decisions of one transaction: made in memory, one after the other, then written."""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobplane.chassis import tracing
from jobplane.chassis.ids import new_id
from jobplane.chassis.new_events import NewEvent
from jobplane.contracts.commands import CreateJob, EditJob
from jobplane.contracts.envelope import trace_id_of
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import (
    AnyJobEvent,
    CommandRefused,
    JobArchived,
    JobForceRun,
    JobRestored,
    JobRetried,
    JobStarted,
)
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.jobs import outcomes, reasons
from jobplane.jobs.allowance import Permit, keys_of, paid
from jobplane.jobs.decider import Accepted, AlreadyThere, Context, Decision, Rejected, decide
from jobplane.jobs.error_groups import Grouping
from jobplane.jobs.job import Meta, evolve
from jobplane.jobs.outcomes import VERSION_CONFLICT, Stored
from jobplane.jobs.reasons import ReasonPolicy
from jobplane.jobs.rows import Held
from jobplane.jobs.store import Changes, UniqueKey
from jobplane.jobs.wishes import Directive, Settled, Wish

Count = tuple[str, JobStatus]
"""What a counter counts: jobs of a queue and a status."""


@dataclass(slots=True)
class Batch:
    """The decisions of one transaction, made in memory one after the other: each sees what the ones before it did."""

    now: datetime
    stored: Mapping[str, Stored]
    holders: dict[UniqueKey, JobId]
    jobs: dict[JobId, Held]
    policy: ReasonPolicy = reasons.BY_DEFAULT
    permit: Permit | None = None
    archived: set[JobId] = field(default_factory=set)
    settled: list[Settled] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    _caused: list[Settled] = field(default_factory=list)
    _moves: list[tuple[Count | None, Count | None]] = field(default_factory=list)
    _groups: Grouping = field(default_factory=Grouping)
    _decided: dict[str, Settled] = field(default_factory=dict)

    def settle(self, wish: Wish) -> None:
        """Decide one wish."""
        held = self.jobs.get(wish.command.job_id)
        decision = self._conditions(wish, held) or self._decide(wish, held)
        settled = Settled(wish, decision, self.now, held)
        self.settled.append(settled)
        if wish.delivered and not isinstance(decision, Stored) and decision is not outcomes.KEY_REUSED:
            self._decided.setdefault(wish.delivered.command_id, settled)
        match decision:
            case Accepted():
                for event in decision.events:
                    self._happen(settled, event, decision.token)
            case AlreadyThere():
                settled.held = self.jobs.get(decision.job_id)

    def _conditions(self, wish: Wish, held: Held | None) -> Rejected | Stored | None:
        """What stops a delivered command before its job is asked."""
        delivered = wish.delivered
        if delivered is None:
            return None
        earlier = self.stored.get(delivered.command_id)
        if earlier is None and delivered.command_id in self._decided:
            earlier = outcomes.of(self._decided[delivered.command_id])
        if earlier is not None:
            return earlier if earlier.body_digest == delivered.body_digest else outcomes.KEY_REUSED
        if delivered.expires_at <= self.now:
            return outcomes.EXPIRED
        if self.policy.misses(wish.command, wish.cause.actor, wish.cause.reason) or wish.flaw is not None:
            return wish.flaw or reasons.REASON_REQUIRED
        if held is not None and delivered.expected_version not in {None, held.job.version}:
            facts = {"version": held.job.version, "status": held.job.status.value, "position": held.position}
            return Rejected(
                VERSION_CONFLICT, "The job has changed since you read it: read it again, then decide again.", facts
            )
        return None

    def _decide(self, wish: Wish, held: Held | None) -> Decision:
        job = held.job if held else None
        command = wish.command
        keyed = command if isinstance(command, CreateJob) else job
        context = Context(
            now=self.now,
            jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            holder=self.holders.get((keyed.kind, keyed.unique_key)) if keyed and keyed.unique_key else None,
            payload=wish.body.fact if wish.body and isinstance(command, CreateJob | EditJob) else None,
            archived=command.job_id in self.archived,
            error=wish.error,
        )
        return decide(command, job, context)

    def _happen(self, settled: Settled, event: AnyJobEvent, token: str | None) -> None:
        wish, held = settled.wish, settled.held
        traceparent = wish.cause.traceparent or (held.traceparent if held else tracing.current_traceparent())
        correlation_id = wish.cause.correlation_id or (held.correlation_id if held else new_id())
        version = held.job.version + 1 if held else 1
        before = (held.job.queue, held.job.status) if held else None
        meta = Meta(wish.command.job_id, version, self.now, trace_id_of(traceparent), token)
        job = evolve(held.job if held else None, event, meta)
        self._groups.hear(held.job if held else None, event, job)
        if held is None:
            held = self.jobs[job.id] = settled.held = Held(job, None, traceparent, correlation_id, before=None)
        held.job = job
        if isinstance(event, JobStarted):
            held.started, held.lease_request = True, wish.lease_request
        elif isinstance(event, JobRetried | JobForceRun | JobRestored):
            held.traceparent, held.correlation_id = traceparent, correlation_id
        if job.unique_key is not None:
            self._hold_key(job.kind, job.unique_key, job.id, finished=job.status in FINISHED)
        settled.event = event
        self._caused.append(settled)
        archived = isinstance(event, JobArchived)
        if archived:
            held.archived = True
            self.archived.add(job.id)
            del self.jobs[job.id]  # for whatever else is wanted of it
        self._moves.append((before, None if archived else (job.queue, job.status)))
        self.events.append(_new_event(wish, event, meta, traceparent, correlation_id))

    def _hold_key(self, kind: str, key: str, job_id: JobId, *, finished: bool) -> None:
        if not finished:
            self.holders[kind, key] = job_id
        elif self.holders.get((kind, key)) == job_id:
            del self.holders[kind, key]

    def changes(self, events: Sequence[NewEvent]) -> Changes:
        """What to write: these events, of which its own come first, and all that they mean."""
        last: dict[JobId, tuple[Held, int]] = {}
        offsets: dict[int, int] = {}
        for n, settled in enumerate(self._caused, start=1):
            offsets[id(settled)] = n
            if settled.held is not None:
                last[settled.held.job.id] = settled.held, n
        return Changes(
            now=self.now,
            events=events,
            bodies=[(s.wish.command.job_id, s.wish.body) for s in self._caused if s.wish.body and not _bodyless(s)],
            rows=list(last.values()),
            outcomes=[
                (command_id, outcomes.of(settled), offsets.get(id(settled)))
                for command_id, settled in sorted(self._decided.items())
            ],
            counts=_counts(self._moves),
            paid=self._paid(),
            groups=self._groups.changes(),
        )

    def _paid(self) -> dict[str, datetime]:
        """What the starts cost where rates are limited."""
        if self.permit is None:
            return {}
        started = [settled.event for settled in self._caused if isinstance(settled.event, JobStarted)]
        counts = Counter(key for event in started for key in keys_of(event.queue, [event.kind]))
        return paid(self.permit.held, counts, self.now)

    def written(self, head: int | None, events: int) -> None:
        """Note the positions, now that they are known; `head` is that of the last of so many events."""
        for position, settled in enumerate(self._caused, start=(head or 0) - events + 1):
            settled.position = position
            if settled.held is not None:
                settled.held.position = position
        for settled in self.settled:
            twin = self._decided.get(settled.wish.delivered.command_id) if settled.wish.delivered else None
            if twin is not None and isinstance(settled.decision, Stored):
                settled.decision = outcomes.of(twin)


def _counts(moves: Sequence[tuple[Count | None, Count | None]]) -> dict[Count, int]:
    """How the counters move."""
    deltas: dict[Count, int] = {}
    for before, after in moves:
        if before is not None:
            deltas[before] = deltas.get(before, 0) - 1
        if after is not None:
            deltas[after] = deltas.get(after, 0) + 1
    return deltas


def refusal_events(batch: Batch, count: Callable[[tuple[str, str], Wish, datetime], bool]) -> list[NewEvent]:
    """One event for each refused command, as long as `count` says that it deserves one of its own."""
    found: list[NewEvent] = []
    for settled in batch.settled:
        wish, decision = settled.wish, settled.decision
        if wish.delivered is None or not isinstance(decision, Rejected):
            continue
        if count((wish.cause.actor.id, decision.code), wish, batch.now):
            status = settled.held.job.status if settled.held else None
            found.append(refusal(wish, decision.code, status=status, at=batch.now))
    return found


def refusal(
    wish: Wish | Directive, code: str, *, at: datetime, status: JobStatus | None = None, count: int = 1
) -> NewEvent:
    """The event that says that a delivered command was refused, in a stream of its own.

    Not in one named by the command: when its outcome is forgotten, the command may come and be refused again.
    """
    verb = wish.delivered.verb if wish.delivered else "?"
    target_type, target_id = wish.target
    body = CommandRefused(
        command=verb, code=code, target_type=target_type, target_id=target_id, status=status, count=count
    )
    return NewEvent(
        stream_id=new_id(),
        version=1,
        type=CommandRefused.TYPE,
        data=body.model_dump_json(exclude_none=True).encode(),
        actor=wish.cause.actor,
        correlation_id=wish.cause.correlation_id or new_id(),
        traceparent=wish.cause.traceparent or tracing.current_traceparent(),
        reason=wish.cause.reason,
        command_id=wish.delivered.command_id if wish.delivered else None,
        at=at,
    )


def _bodyless(settled: Settled) -> bool:
    """A late report about a cancelled run carries a body that no event refers to."""
    event = settled.event
    body = settled.wish.body
    refs = (
        getattr(event, "payload", None),
        getattr(event, "result", None),
        getattr(getattr(event, "error", None), "body", None),
    )
    return body is None or all(fact is None or fact.ref != body.ref for fact in refs)


def _new_event(wish: Wish, event: AnyJobEvent, meta: Meta, traceparent: str, correlation_id: str) -> NewEvent:
    return NewEvent(
        id=wish.event_id,
        stream_id=meta.stream_id,
        version=meta.version,
        type=event.TYPE,
        data=event.model_dump_json(exclude_none=True).encode(),
        actor=wish.cause.actor,
        reason=wish.cause.reason,
        command_id=wish.delivered.command_id if wish.delivered else None,
        correlation_id=correlation_id,
        causation_id=wish.cause.causation_id,
        traceparent=traceparent,
        at=meta.at,
    )
