"""The one way to change jobs.

Every writer hands its wishes to `Ledger.write`, which locks, decides, appends and updates in one order.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog
from psycopg.errors import UniqueViolation

from jobplane.chassis import database
from jobplane.chassis.refusals import Tally
from jobplane.contracts.commands import CreateJob, RestoreJob, RetryJob
from jobplane.jobs.allowance import Permit, keys_of
from jobplane.jobs.batch import Batch, refusal, refusal_events
from jobplane.jobs.reasons import BY_DEFAULT, ReasonPolicy
from jobplane.jobs.rows import Held
from jobplane.jobs.store import ById, Changes, Claimable, Controlled, Known, Selection, Store
from jobplane.jobs.wishes import Directive, Settled, Wish

log = structlog.get_logger()

_TRIES: Final = 5

Refusals = Tally[tuple[str, str], Wish | Directive]
"""Refused commands by actor and code."""
Plan = Callable[[Sequence[Held], datetime], Sequence[Wish]]


class Ledger:
    """Writes jobs. `after_commit` hears of everything that was settled, e.g. to wake workers."""

    def __init__(
        self,
        store: Store,
        after_commit: Callable[[Sequence[Settled]], None] = lambda _: None,
        reasons: ReasonPolicy = BY_DEFAULT,
    ) -> None:
        self._store = store
        self._after_commit = after_commit
        self._reasons = reasons
        self.refusals: Refusals = Tally()
        """Of commands of every sort."""

    async def settle(self, wishes: Sequence[Wish], then: Sequence[Wish] = ()) -> list[Settled]:
        """Decide wishes about jobs known by id, in order; one answer each, refusals included.

        `then` are wishes about jobs that these make, answered behind them; left out where the job was there before.
        """

        def plan(found: Sequence[Held], _now: datetime) -> list[Wish]:
            there = {item.job.id for item in found}
            return [*wishes, *(wish for wish in then if wish.command.job_id not in there)]

        wanted = ById([wish.command.job_id for wish in wishes])
        try:
            return (await self._repeat(wanted, plan, _known(wishes, then), presume=_all_new(wishes)))[0]
        except Controlled:
            return await self.settle(wishes)

    async def write(self, selection: Selection, plan: Plan, known: Sequence[Wish] = ()) -> list[Settled]:
        """Lock jobs, let `plan` make wishes of them, and carry these out, all in one transaction.

        `known` are the wishes that are known before the rows are (their command ids and unique keys are locked first).
        A deadlock, or another writer that was faster with the same job, repeats the whole.

        Raises:
            Unavailable: the journal is halted.
        """
        return (await self._repeat(selection, plan, _known(known), presume=_all_new(known)))[0]

    async def claim(self, selection: Claimable, plan: Plan) -> tuple[list[Settled], Permit | None]:
        """As `write`; tells besides what may start, where something is paused or limited.

        Raises:
            Unavailable: the journal is halted.
        """
        return await self._repeat(selection, plan, Known(), presume=False)

    async def _repeat(
        self, selection: Selection, plan: Plan, known: Known, *, presume: bool
    ) -> tuple[list[Settled], Permit | None]:
        first = replace(known, created=())
        for attempt in range(1, _TRIES + 1):
            told = first if attempt == 1 else known  # hardly ever is the id of an archived job taken
            try:
                settled, permit = await self._write(selection, plan, told, presume=attempt == 1 and presume)
            except Exception as error:
                if attempt == _TRIES or not worth_repeating(error):
                    raise
                log.info("ledger.repeated", error=type(error).__name__, attempt=attempt)
                continue
            self._after_commit(settled)
            return settled, permit
        raise AssertionError

    async def _write(
        self, selection: Selection, plan: Plan, known: Known, *, presume: bool
    ) -> tuple[list[Settled], Permit | None]:
        with self.refusals.attempt() as count_refusal:
            async with self._store.transaction() as tx:
                found = (tx.presume(known.starting) if presume else None) or await tx.read(selection, known)
                batch = Batch(
                    now=found.now,
                    stored=found.stored,
                    holders=dict(found.holders),
                    jobs={item.job.id: item for item in found.held},
                    policy=self._reasons,
                    permit=found.permit,
                    archived=set(found.archived),
                )
                for wish in plan(found.held, found.now):
                    batch.settle(wish)
                events = batch.events + refusal_events(batch, count_refusal)
                await tx.write(batch.changes(events))
        batch.written(tx.head, len(events))
        return batch.settled, found.permit

    async def sum_up_refusals(self, now: datetime, *, closing: bool = False) -> int:
        """Record one event for each actor and code whose refusals were too many to record singly.

        Gives how many events.
        """
        due = self.refusals.rest() if closing else self.refusals.due(now)
        if due:
            events = [refusal(wish, key[1], at=now, count=count) for key, wish, count in due]
            try:
                async with self._store.transaction() as tx:
                    await tx.write(Changes(now, events))
            except BaseException:
                self.refusals.put_back(due, now)
                raise
        return len(due)


def worth_repeating(error: Exception) -> bool:
    """Whether the next try may succeed: it sees what the writer wrote that was faster."""
    return isinstance(error, UniqueViolation) or (database.transient(error) and not database.is_away(error))


def _all_new(wishes: Sequence[Wish]) -> bool:
    """Whether all of them make something that nobody can have made before, unless a command came twice."""
    commands = [wish.command for wish in wishes]
    return bool(commands) and all(isinstance(one, CreateJob) and one.unique_key is None for one in commands)


def _known(wishes: Sequence[Wish], then: Sequence[Wish] = ()) -> Known:
    """What can be locked before the rows are."""
    commands = [wish.command for wish in wishes]
    created = [command for command in commands if isinstance(command, CreateJob)]
    started = {wish.command.job_id for wish in then}
    starting = [keys_of(command.queue, [command.kind]) for command in created if command.job_id in started]
    return Known(
        command_ids=[wish.delivered.command_id for wish in wishes if wish.delivered],
        unique_keys=[(command.kind, command.unique_key) for command in created if command.unique_key is not None],
        retried=[command.job_id for command in commands if isinstance(command, RetryJob | RestoreJob)],
        created=[command.job_id for command in created],
        starting=frozenset().union(*starting),
    )
