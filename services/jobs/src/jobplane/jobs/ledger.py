"""The one way to change jobs.

Every writer hands its wishes to `Ledger.write`, which locks, decides, appends and updates in one order.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import UniqueViolation
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database, tracing
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, LockOrder, NewEvent, Transaction
from jobplane.chassis.refusals import Tally
from jobplane.contracts.actors import Actor
from jobplane.contracts.commands import CreateJob
from jobplane.contracts.envelope import trace_id_of
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import AnyJobEvent, CommandRefused, ErrorFact, JobForceRun, JobRetried, JobStarted
from jobplane.contracts.jobs import FINISHED, JobStatus
from jobplane.jobs import bodies, outcomes, rows
from jobplane.jobs.bodies import NewBody
from jobplane.jobs.decider import Accepted, AlreadyThere, AnyCommand, Context, Decision, LeaseJob, Rejected, decide
from jobplane.jobs.job import Meta, evolve
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.rows import Held

log = structlog.get_logger()

_TRIES: Final = 5
_KEY_LOCKS: Final = """
SELECT pg_advisory_xact_lock(h) FROM (
    SELECT DISTINCT hashtextextended(k.kind || chr(31) || k.key, 0) AS h FROM (
        SELECT * FROM unnest(%s::text[], %s::text[]) AS wanted (kind, key)
        UNION SELECT kind, unique_key FROM job WHERE id = ANY(%s::uuid[]) AND unique_key IS NOT NULL
    ) AS k ORDER BY 1
) AS ordered
"""
_HOLDERS: Final = """
SELECT job.kind, job.unique_key, job.id FROM job JOIN (
    SELECT * FROM unnest(%s::text[], %s::text[]) AS wanted (kind, key)
    UNION SELECT kind, unique_key FROM job WHERE id = ANY(%s::uuid[]) AND unique_key IS NOT NULL
) AS k ON job.kind = k.kind AND job.unique_key = k.key WHERE job.status IN ('PENDING', 'RUNNING')
"""
_BY_ID: Final = f"SELECT {rows.LOCKED_COLUMNS} FROM job WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE"  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Cause:
    """Who caused a wish, and why; without a traceparent the job's own trace is continued."""

    actor: Actor
    correlation_id: str
    traceparent: str | None = None
    reason: str | None = None
    causation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a wish has that came as a command: an id to remember its outcome by, and conditions."""

    command_id: str
    verb: str
    expires_at: datetime
    body_digest: str | None = None
    expected_version: int | None = None


@dataclass(slots=True)
class Wish:
    """One thing to decide; its event, if it comes to one, has the id `event_id`."""

    command: AnyCommand
    cause: Cause
    event_id: str = field(default_factory=new_id)
    body: NewBody | None = None
    """The body that the event will refer to."""
    error: ErrorFact | None = None
    """Prepared for a timeout or an orphaning."""
    delivered: Delivered | None = None
    lease_request: str | None = None
    fences: str | None = None
    """Token of the run that this ends from outside: its worker is told."""


@dataclass(slots=True)
class Settled:
    """What became of a wish."""

    wish: Wish
    decision: Decision | Stored
    held: Held | None
    """The job as it is afterwards, if there is one."""
    event: AnyJobEvent | None = None
    position: int | None = None


class LockById:
    """Lock the jobs of some ids."""

    def __init__(self, ids: Iterable[JobId]) -> None:
        self._ids = sorted(set(ids))

    async def __call__(self, conn: AsyncConnection[Any]) -> AsyncCursor[Any]:
        """Queue the statement."""
        return await conn.execute(_BY_ID, (self._ids,))


LockRows = Callable[[AsyncConnection[Any]], Awaitable[AsyncCursor[Any]]]
Plan = Callable[[Sequence[Held], datetime], Sequence[Wish]]


class Ledger:
    """Writes jobs. `after_commit` hears of everything that was settled, e.g. to wake workers."""

    def __init__(self, journal: Journal, after_commit: Callable[[Sequence[Settled]], None] = lambda _: None) -> None:
        self._journal = journal
        self._after_commit = after_commit
        self.refusals: Tally[tuple[str, str], Wish] = Tally()

    @property
    def pool(self) -> AsyncConnectionPool:
        """The database, to look before writing."""
        return self._journal.pool

    async def settle(self, wishes: Sequence[Wish]) -> list[Settled]:
        """Decide wishes about jobs known by id, in order; one answer each, refusals included."""
        return await self.write(LockById(wish.command.job_id for wish in wishes), lambda _held, _now: wishes, wishes)

    async def write(self, lock: LockRows, plan: Plan, known: Sequence[Wish] = ()) -> list[Settled]:
        """Lock rows, let `plan` make wishes of them, and carry these out, all in one transaction.

        `known` are the wishes that are known before the rows are (their command ids and unique keys are locked first).
        A deadlock, or another writer that was faster with the same job, repeats the whole.

        Raises:
            Unavailable: the journal is halted.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                settled = await self._write(lock, plan, known)
            except Exception as error:
                if attempt == _TRIES or not _worth_repeating(error):
                    raise
                log.info("ledger.repeated", error=type(error).__name__, attempt=attempt)
                continue
            self._after_commit(settled)
            return settled
        raise AssertionError

    async def _write(self, lock: LockRows, plan: Plan, known: Sequence[Wish]) -> list[Settled]:
        with self.refusals.attempt() as count_refusal:
            async with self._journal.transaction() as tx:
                claims = await outcomes.claim(tx, [wish.delivered for wish in known if wish.delivered])
                holders = await _lock_unique_keys(tx, known)
                tx.locking(LockOrder.ROWS)
                locked = await lock(tx.conn)
                clock = await tx.conn.execute("SELECT clock_timestamp()")
                held = [rows.held(row) for row in await locked.fetchall()]
                now = await _one(clock)
                batch = _Batch(
                    now=now,
                    stored=await claims.stored() if claims else {},
                    holders={(kind, key): holder for kind, key, holder in await holders.fetchall()} if holders else {},
                    jobs={item.job.id: item for item in held},
                )
                for wish in plan(held, now):
                    batch.settle(wish)
                events = batch.events + _refusal_events(batch, count_refusal)
                first = await tx.append(events)
                await batch.write(tx, first)
        return batch.settled

    async def sum_up_refusals(self, now: datetime, *, closing: bool = False) -> int:
        """Record one event for each actor and code whose refusals were too many to record singly.

        Gives how many events.
        """
        due = self.refusals.rest() if closing else self.refusals.due(now)
        if due:
            events = [refusal(wish, key[1], at=now, count=count) for key, wish, count in due]
            try:
                async with self._journal.transaction() as tx:
                    await tx.append(events)
            except BaseException:
                self.refusals.put_back(due, now)
                raise
        return len(due)


def _worth_repeating(error: Exception) -> bool:
    """Whether the next try may succeed: it sees what the writer wrote that was faster."""
    return isinstance(error, UniqueViolation) or (database.transient(error) and not database.is_away(error))


def refusal(wish: Wish, code: str, *, at: datetime, status: JobStatus | None = None, count: int = 1) -> NewEvent:
    """The event that says that a delivered command was refused, in a stream of its own.

    Not in one named by the command: when its outcome is forgotten, the command may come and be refused again.
    """
    verb = wish.delivered.verb if wish.delivered else "?"
    body = CommandRefused(command=verb, code=code, target_id=wish.command.job_id, status=status, count=count)
    return NewEvent(
        stream_id=new_id(),
        version=1,
        type=CommandRefused.TYPE,
        data=body.model_dump_json(exclude_none=True).encode(),
        actor=wish.cause.actor,
        correlation_id=wish.cause.correlation_id,
        traceparent=wish.cause.traceparent or tracing.current_traceparent(),
        reason=wish.cause.reason,
        command_id=wish.delivered.command_id if wish.delivered else None,
        at=at,
    )


@dataclass(slots=True)
class _Batch:
    """The decisions of one transaction, made in memory one after the other: each sees what the ones before it did."""

    now: datetime
    stored: dict[str, Stored]
    holders: dict[tuple[str, str], JobId]
    jobs: dict[JobId, Held]
    settled: list[Settled] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    _caused: list[Settled] = field(default_factory=list)
    _moves: list[tuple[str, JobStatus | None, JobStatus]] = field(default_factory=list)
    _decided: dict[str, Settled] = field(default_factory=dict)

    def settle(self, wish: Wish) -> None:
        """Decide one wish."""
        held = self.jobs.get(wish.command.job_id)
        decision = self._conditions(wish, held) or self._decide(wish, held)
        settled = Settled(wish, decision, held)
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
            return Rejected(
                "command_expired",
                "The command was not decided in time: look at the job, then send it again if it is still wanted.",
            )
        if held is not None and delivered.expected_version not in {None, held.job.version}:
            facts = {"version": held.job.version, "status": held.job.status.value, "position": held.position}
            return Rejected(
                "version_conflict", "The job has changed since you read it: read it again, then decide again.", facts
            )
        return None

    def _decide(self, wish: Wish, held: Held | None) -> Decision:
        job = held.job if held else None
        command = wish.command
        kind, key = (
            (command.kind, command.unique_key)
            if isinstance(command, CreateJob)
            else (job.kind, job.unique_key)
            if job
            else ("", None)
        )
        context = Context(
            now=self.now,
            jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            holder=self.holders.get((kind, key)) if key else None,
            payload=wish.body.fact if wish.body and isinstance(command, CreateJob) else None,
            error=wish.error,
        )
        return decide(command, job, context)

    def _happen(self, settled: Settled, event: AnyJobEvent, token: str | None) -> None:
        wish, held = settled.wish, settled.held
        traceparent = wish.cause.traceparent or (held.traceparent if held else tracing.current_traceparent())
        version = held.job.version + 1 if held else 1
        before = held.job.status if held else None
        meta = Meta(wish.command.job_id, version, self.now, trace_id_of(traceparent), token)
        job = evolve(held.job if held else None, event, meta)
        if held is None:
            held = self.jobs[job.id] = settled.held = Held(job, None, traceparent, version_read=0)
        held.job = job
        if isinstance(event, JobStarted):
            held.started, held.lease_request = True, wish.lease_request
        elif isinstance(event, JobRetried | JobForceRun):
            held.traceparent = traceparent
        if job.unique_key is not None:
            self._hold_key(job.kind, job.unique_key, job.id, finished=job.status in FINISHED)
        settled.event = event
        self._caused.append(settled)
        self._moves.append((job.queue, before, job.status))
        self.events.append(_new_event(wish, event, meta, traceparent))

    def _hold_key(self, kind: str, key: str, job_id: JobId, *, finished: bool) -> None:
        if not finished:
            self.holders[kind, key] = job_id
        elif self.holders.get((kind, key)) == job_id:
            del self.holders[kind, key]

    async def write(self, tx: Transaction, first: int) -> None:
        """Write what the events mean: bodies, rows, outcomes, counters."""
        changed: dict[JobId, Held] = {}
        for position, settled in enumerate(self._caused, start=first):
            settled.position = position
            if settled.held is not None:
                settled.held.position = position
                changed[settled.held.job.id] = settled.held
        for settled in self.settled:
            twin = self._decided.get(settled.wish.delivered.command_id) if settled.wish.delivered else None
            if twin is not None and isinstance(settled.decision, Stored):
                settled.decision = outcomes.of(twin)
        new_bodies = [(s.wish.command.job_id, s.wish.body) for s in self._caused if s.wish.body and not _bodyless(s)]
        if new_bodies:
            await bodies.store(tx.conn, new_bodies)
        await rows.write(tx.conn, list(changed.values()), self.now)
        await outcomes.store(tx, list(self._decided.values()))
        tx.locking(LockOrder.COUNTERS)
        await rows.count(tx.conn, self._moves)


def _refusal_events(batch: _Batch, count: Callable[[tuple[str, str], Wish, datetime], bool]) -> list[NewEvent]:
    found: list[NewEvent] = []
    for settled in batch.settled:
        wish, decision = settled.wish, settled.decision
        if wish.delivered is None or not isinstance(decision, Rejected):
            continue
        if count((wish.cause.actor.id, decision.code), wish, batch.now):
            status = settled.held.job.status if settled.held else None
            found.append(refusal(wish, decision.code, status=status, at=batch.now))
    return found


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


def _new_event(wish: Wish, event: AnyJobEvent, meta: Meta, traceparent: str) -> NewEvent:
    return NewEvent(
        id=wish.event_id,
        stream_id=meta.stream_id,
        version=meta.version,
        type=event.TYPE,
        data=event.model_dump_json(exclude_none=True).encode(),
        actor=wish.cause.actor,
        reason=wish.cause.reason,
        command_id=wish.delivered.command_id if wish.delivered else None,
        correlation_id=wish.cause.correlation_id,
        causation_id=wish.cause.causation_id,
        traceparent=traceparent,
        at=meta.at,
    )


async def _lock_unique_keys(tx: Transaction, wishes: Sequence[Wish]) -> AsyncCursor[Any] | None:
    """Serialise everybody who may take or give up one of these unique keys; the cursor brings who holds them."""
    created = [c for c in (wish.command for wish in wishes) if isinstance(c, CreateJob) and c.unique_key is not None]
    retried = [wish.command.job_id for wish in wishes if not isinstance(wish.command, CreateJob | LeaseJob)]
    if not created and not retried:
        return None
    parameters = ([c.kind for c in created], [c.unique_key for c in created], retried)
    tx.locking(LockOrder.UNIQUE_KEYS)
    await tx.conn.execute(_KEY_LOCKS, parameters)
    return await tx.conn.execute(_HOLDERS, parameters)


async def _one(cursor: AsyncCursor[Any]) -> Any:  # noqa: ANN401 - whatever the column holds
    row = await cursor.fetchone()
    if row is None:
        msg = "the database answered nothing"
        raise Unavailable(msg)
    return row[0]
