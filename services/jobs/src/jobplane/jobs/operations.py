"""Commands about bulk operations: each locks its operation, decides, and writes the row; see `directives`."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, cast

from pydantic import JsonValue, ValidationError

from jobplane.chassis import tracing
from jobplane.chassis.arrays import plain
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import LockOrder, Transaction
from jobplane.chassis.new_events import NewEvent
from jobplane.contracts.commands import AnyDirective
from jobplane.contracts.errors import Refused
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.operations import (
    AnyOperationCommand,
    AnyOperationEvent,
    Drift,
    OperationStatus,
    PauseOperation,
    PlanOperation,
    ResumeOperation,
    RunOperation,
    StopOperation,
    UndoOperation,
)
from jobplane.jobs import operation_rows, redaction, search_sql
from jobplane.jobs.bulk import Context, Finish, GiveUp, Meta, Operation, Planned, decide, evolve, takes_back
from jobplane.jobs.decider import Rejected
from jobplane.jobs.directives import Rule, Ruling
from jobplane.jobs.operation_rows import RequestCause
from jobplane.jobs.reasons import BY_DEFAULT, ReasonPolicy
from jobplane.jobs.redaction import Redaction
from jobplane.jobs.wishes import Directive

DEFAULT_REASON_OVER: Final = 100
MeasureDrift = Callable[[Transaction, Operation], Awaitable[Drift | None]]
"""How the set of jobs has changed since it was planned; None where no filter chose it."""


async def no_drift(_tx: Transaction, _state: Operation) -> Drift | None:
    """For operations whose jobs were named."""
    return None


class Operations:
    """Rules for directives about operations.

    Without a reason no more jobs than `reason_over` are changed, and none by a verb that needs one.
    """

    def __init__(
        self,
        reason_over: int = DEFAULT_REASON_OVER,
        measure_drift: MeasureDrift = no_drift,
        reasons: ReasonPolicy = BY_DEFAULT,
        redaction: Redaction = redaction.BY_DEFAULT,
    ) -> None:
        self._redaction = redaction
        self._reason_over = reason_over
        self._measure_drift = measure_drift
        self._reasons = reasons

    @property
    def rules(self) -> dict[type[AnyDirective], Rule]:
        """Who decides about which directive."""
        commands: Sequence[type[AnyDirective]] = (
            PlanOperation,
            UndoOperation,
            RunOperation,
            PauseOperation,
            ResumeOperation,
            StopOperation,
        )
        return dict.fromkeys(commands, self.rule)

    async def rule(self, tx: Transaction, directive: Directive, now: datetime) -> Ruling | Rejected:
        """Decide about one operation and write its row."""
        command = cast("AnyOperationCommand", directive.command)  # `rules` names no others
        if (hidden := self._hidden(command)) is not None:
            return hidden
        tx.locking(LockOrder.OPERATION)
        undone, undone_by = await _undone(tx, command)
        state = await operation_rows.load(tx.conn, command.operation_id, lock=True)
        drift = await self._drift(tx, command, state)
        cause = directive.cause
        context = Context(
            now, cause.actor, cause.reason, self._reason_over, drift, undone, undone_by, reasons=self._reasons
        )
        decision = decide(command, state, context)
        if isinstance(decision, Rejected):
            return decision
        meta = Meta(command.operation_id, 0, now, cause.actor, cause.reason)
        evolved = happened(state, decision, meta)
        correlation = cause.correlation_id or new_id()
        traceparent = cause.traceparent or tracing.current_traceparent()
        asked = RequestCause(directive.delivered.command_id, correlation, traceparent)
        if state is None:
            ids = plain(sorted(set(command.ids))) if isinstance(command, PlanOperation) and command.ids else None
            await operation_rows.insert(tx.conn, evolved, asked, ids)
        else:
            await operation_rows.save(tx.conn, evolved)
        if isinstance(command, RunOperation):
            await operation_rows.act(tx.conn, command.operation_id, cause.actor, asked)
        facts: dict[str, JsonValue] = {"operation_id": evolved.id, "operation_status": evolved.status.value}
        return Ruling(evolved.id, state.version if state else 0, decision, facts)

    def _hidden(self, command: AnyOperationCommand) -> Rejected | None:
        """Why its filter cannot be used: it names what is secret, which must not get into an event."""
        if not isinstance(command, PlanOperation) or command.filter is None:
            return None
        try:
            search_sql.refuse_hidden(JobFilter.model_validate(command.filter), self._redaction)
        except ValidationError:
            return None  # the planner says what is wrong with it
        except Refused as refusal:
            return Rejected(refusal.code, refusal.detail, refusal.facts)
        return None

    async def _drift(self, tx: Transaction, command: AnyOperationCommand, state: Operation | None) -> Drift | None:
        wanted = isinstance(command, RunOperation) and state is not None and state.status is OperationStatus.PLANNED
        return await self._measure_drift(tx, state) if wanted and state is not None and state.filter else None

    async def proceed(self, tx: Transaction, operation_id: str, command: Planned | GiveUp | Finish) -> Operation | None:
        """What the planner or the runner brings about, in the name of whoever asked for the operation.

        None: it is not the time for that any more, and nothing was written.
        """
        tx.locking(LockOrder.OPERATION)
        found = await operation_rows.load_with_cause(tx.conn, operation_id)
        if found is None:
            return None
        state, actor, cause, now = found
        decision = decide(command, state, Context(now, actor, state.reason, self._reason_over, reasons=self._reasons))
        if isinstance(decision, Rejected):
            return None
        evolved = happened(state, decision, Meta(state.id, 0, now, actor, state.reason))
        await operation_rows.save(tx.conn, evolved)
        await tx.append(
            [
                NewEvent(
                    stream_id=state.id,
                    version=version,
                    type=body.TYPE,
                    data=body.model_dump_json(exclude_none=True).encode(),
                    actor=actor,
                    reason=state.reason,
                    correlation_id=cause.correlation_id,
                    causation_id=cause.command_id,
                    traceparent=cause.traceparent,
                    at=now,
                )
                for version, body in enumerate(decision, start=state.version + 1)
            ]
        )
        return evolved


async def _undone(tx: Transaction, command: AnyOperationCommand) -> tuple[Operation | None, str | None]:
    """The operation that is to be taken back, and the one that does so already.

    The first is locked, so that nothing more is done by it meanwhile, and nobody else takes it back.
    """
    match command:
        case UndoOperation():
            undo_of: str | None = command.undo_of
        case RunOperation():
            plan = await operation_rows.load(tx.conn, command.operation_id, lock=False)
            undo_of = plan.undo_of if plan else None
        case _:
            undo_of = None
    if undo_of is None:
        return None, None
    undone = await operation_rows.load(tx.conn, undo_of, lock=True)
    others = await operation_rows.undos_of(tx.conn, undo_of)
    return undone, next((undo.id for undo in others if takes_back(undo)), None)


def happened(state: Operation | None, events: Sequence[AnyOperationEvent], meta: Meta) -> Operation:
    """The operation after some events; `meta` is that of all of them, but for the version.

    Raises:
        ValueError: there is no event.
    """
    version = state.version if state else 0
    for number, event in enumerate(events, start=version + 1):
        state = evolve(state, event, Meta(meta.stream_id, number, meta.at, meta.actor, meta.reason))
    if state is None:
        raise ValueError("an operation begins with an event")
    return state
