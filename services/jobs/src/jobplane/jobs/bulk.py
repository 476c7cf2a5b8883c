"""A bulk operation: which command is allowed when, and what each event does to it; no clock, no I/O.

What it does to each job is decided in `chunks`, job by job, as `decider` would.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from pydantic import JsonValue

from jobplane.contracts.actors import Actor, Role
from jobplane.contracts.ids import Position
from jobplane.contracts.operations import (
    ENDED,
    AnyOperationEvent,
    BulkAction,
    BulkEdit,
    Drift,
    OperationFailed,
    OperationFinished,
    OperationPaused,
    OperationPlanned,
    OperationRequested,
    OperationResumed,
    OperationStarted,
    OperationStatus,
    OperationStopped,
    PauseOperation,
    PlanOperation,
    ResumeOperation,
    RunOperation,
    StopOperation,
    UndoOperation,
)
from jobplane.jobs.decider import Rejected
from jobplane.jobs.reasons import BY_DEFAULT, ReasonPolicy

PLAN_KEPT: Final = timedelta(hours=24)
"""So long a plan may be run; afterwards nobody knows any more what it was about."""

REFUSALS: Final[Mapping[str, str]] = {
    "operation_not_found": "There is no such operation: check the id, or look it up in the list of operations.",
    "operation_exists": "An operation with this id exists already: choose a new id for a new one.",
    "operation_not_planned": "Only an operation that is planned can be run: look at its status.",
    "operation_not_running": "Only what runs, or is planned to run at once, can be paused: look at its status.",
    "operation_not_paused": "Only an operation that is paused can be resumed: look at its status.",
    "operation_ended": "The operation has ended already: look at what it did, or undo it.",
    "operation_not_ended": "The operation still runs: wait for its end, or stop it first, then undo it.",
    "selector_required": "Say which jobs: give ids or a filter.",
    "selector_ambiguous": "Say in one way which jobs: give ids or a filter, not both.",
    "edit_required": "Say what to change: give at least one of queue, priority, run_at and max_attempts.",
    "edit_not_allowed": "Only the action edit changes jobs: leave edit out, or choose that action.",
    "reason_required": "A bulk operation of this size needs a reason: say why.",
    "plan_mismatch": "The plan is to do something else to its jobs: give its action, or the plan of this one.",
    "not_your_plan": "Somebody else made this plan: make one of your own, or ask a superadmin to run it.",
    "plan_expired": "The plan is older than a day: make a new one.",
    "plan_drifted": "The jobs that fit the filter have changed too much since it was planned: make a new plan.",
    "not_undoable": "A run that was forced cannot be taken back: the jobs were put before all others at once.",
    "nothing_to_undo": "The operation changed no job, so there is nothing to take back.",
    "already_undone": "Its undo has run, or is about to: look at what that put back; undo that one to do it again.",
}
"""Every code that `decide` refuses with, and what to do about it."""

INVERSE: Final[Mapping[BulkAction, BulkAction]] = {
    BulkAction.RETRY: BulkAction.CANCEL,
    BulkAction.CANCEL: BulkAction.RESTORE,
    BulkAction.RESTORE: BulkAction.CANCEL,
    BulkAction.EDIT: BulkAction.EDIT,
}
"""What takes an action back; a run that was forced cannot be."""


_WAITS_FOR_REASON: Final = "A bulk operation of this size needs a reason: run the plan, and say why."
_LATER_PERHAPS: Final = frozenset({"stop_pending", "unique_key_taken"})
"""Jobs that were skipped because of this may not be another time."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The planner settled which jobs it is about."""

    total: int
    as_of: Position
    skipping: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The planner cannot settle it."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The runner has looked at every job."""


AnyCommand = (
    PlanOperation
    | UndoOperation
    | RunOperation
    | PauseOperation
    | ResumeOperation
    | StopOperation
    | Planned
    | GiveUp
    | Finish
)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as its events tell it; `done` and `codes` are counted chunk by chunk."""

    id: str
    action: BulkAction
    status: OperationStatus
    version: int
    """How many events it has, those of its chunks included."""
    actor: Actor
    reason: str | None
    filter: dict[str, JsonValue] | None
    edit: BulkEdit | None
    rate: float | None
    then_run: bool
    undo_of: str | None
    requested_at: datetime
    planned_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    as_of: Position | None = None
    total: int | None = None
    done: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    skipping: Mapping[str, int] = field(default_factory=dict)
    drift: Drift | None = None
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a decision needs of the world."""

    now: datetime
    actor: Actor
    reason: str | None
    reason_over: int
    """So many jobs may be changed without a reason."""
    drift: Drift | None = None
    """How the set has changed since it was planned; none where no filter chose it."""
    undone: Operation | None = None
    """The operation to take back."""
    undone_by: str | None = None
    """The operation that took that one back, or is about to."""
    reasons: ReasonPolicy = BY_DEFAULT
    """It holds for each job, whoever changes it together with others."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What the journal knows of an event beside its body."""

    stream_id: str
    version: int
    at: datetime
    actor: Actor
    reason: str | None


Decision = tuple[AnyOperationEvent, ...] | Rejected


def decide(command: AnyCommand, state: Operation | None, context: Context) -> Decision:  # noqa: C901, PLR0911, PLR0912 - one case per command
    """What `command` does to an operation in `state` (None: there is none of that id)."""
    if isinstance(command, PlanOperation):
        return _request(command, state, context)
    if isinstance(command, UndoOperation):
        return _undo(command, state, context)
    if state is None:
        return _refuse("operation_not_found")
    match command:
        case Planned():
            return _plan(command, state, context)
        case GiveUp():
            if state.status is not OperationStatus.PLANNING:
                return _refuse("operation_ended", state)
            return (OperationFailed(action=state.action, code=command.code, detail=command.detail),)
        case RunOperation():
            return _run(command, state, context)
        case PauseOperation():
            planning = state.status is OperationStatus.PLANNING and state.then_run
            if state.status is not OperationStatus.RUNNING and not planning:
                return _refuse("operation_not_running", state)
            return (OperationPaused(action=state.action),)
        case ResumeOperation():
            if state.status is not OperationStatus.PAUSED:
                return _refuse("operation_not_paused", state)
            return (OperationResumed(action=state.action),)
        case StopOperation():
            if state.status in ENDED:
                return _refuse("operation_ended", state)
            return (OperationStopped(action=state.action, done=state.done, skipped=dict(state.codes)),)
        case Finish():
            if state.status is not OperationStatus.RUNNING:
                return _refuse("operation_not_running", state)
            return (OperationFinished(action=state.action, done=state.done, skipped=dict(state.codes)),)
        case _:
            assert_never(command)


def _request(command: PlanOperation, state: Operation | None, context: Context) -> Decision:
    if state is not None:
        return _refuse("operation_exists", state)
    if (code := _fault_of(command)) is not None:
        return _refuse(code)
    jobs = None if command.ids is None else len(set(command.ids))
    if command.then_run and jobs is not None and _lacks_reason(command.action, jobs, context.reason, context):
        return _refuse("reason_required", jobs=jobs, without_reason=context.reason_over)
    return (
        OperationRequested(
            action=command.action,
            jobs=jobs,
            filter=command.filter,
            edit=command.edit,
            rate=command.rate,
            then_run=command.then_run,
        ),
    )


def _fault_of(command: PlanOperation) -> str | None:
    """What is wrong with a request, whatever the state of the world."""
    if command.ids is None and command.filter is None:
        return "selector_required"
    if command.ids is not None and command.filter is not None:
        return "selector_ambiguous"
    changes = command.edit is not None and bool(command.edit.model_dump(exclude_none=True))
    if command.action is BulkAction.EDIT and not changes:
        return "edit_required"
    if command.action is not BulkAction.EDIT and command.edit is not None:
        return "edit_not_allowed"
    return None


def _undo(command: UndoOperation, state: Operation | None, context: Context) -> Decision:  # noqa: PLR0911 - one refusal each
    undone = context.undone
    if state is not None:
        return _refuse("operation_exists", state)
    if undone is None:
        return _refuse("operation_not_found")
    if undone.status not in ENDED:
        return _refuse("operation_not_ended", undone)
    inverse = INVERSE.get(undone.action)
    if inverse is None:
        return _refuse("not_undoable", undone)
    if not undone.done:
        return _refuse("nothing_to_undo", undone)
    if context.undone_by is not None:
        return _refuse("already_undone", undone, undone_by=context.undone_by)
    if command.then_run and _lacks_reason(inverse, undone.done, context.reason, context):
        return _refuse("reason_required", jobs=undone.done, without_reason=context.reason_over)
    return (
        OperationRequested(
            action=inverse, jobs=undone.done, rate=command.rate, then_run=command.then_run, undo_of=undone.id
        ),
    )


def _plan(command: Planned, state: Operation, context: Context) -> Decision:
    if state.status is not OperationStatus.PLANNING:
        return _refuse("operation_ended", state)
    planned = OperationPlanned(
        action=state.action, total=command.total, as_of=command.as_of, skipping=dict(command.skipping)
    )
    if not state.then_run or _lacks_reason(state.action, command.total, state.reason, context):
        return (planned,)
    return planned, OperationStarted(action=state.action, total=command.total)


def _run(command: RunOperation, state: Operation, context: Context) -> Decision:  # noqa: PLR0911 - one refusal each
    if command.action not in {None, state.action}:
        return _refuse("plan_mismatch", state, planned_action=state.action.value)
    if state.status is not OperationStatus.PLANNED or state.planned_at is None:
        return _refuse("operation_not_planned", state)
    if context.actor.id != state.actor.id and context.actor.role is not Role.SUPERADMIN:
        return _refuse("not_your_plan", state)
    if context.now > state.planned_at + PLAN_KEPT:
        return _refuse("plan_expired", state)
    if context.undone_by is not None:
        return _refuse("already_undone", state, undone_by=context.undone_by)
    total = state.total or 0
    if _lacks_reason(state.action, total, context.reason or state.reason, context):
        return _refuse("reason_required", state, jobs=total, without_reason=context.reason_over)
    drift = context.drift
    if drift is not None and command.max_drift is not None and drift.added + drift.gone > command.max_drift:
        told: dict[str, JsonValue] = {"added": drift.added, "gone": drift.gone, "max_drift": command.max_drift}
        return _refuse("plan_drifted", state, **told)
    added, gone = (drift.added, drift.gone) if drift else (None, None)
    return (OperationStarted(action=state.action, total=total, added=added, gone=gone),)


def _lacks_reason(action: BulkAction, jobs: int, reason: str | None, context: Context) -> bool:
    if jobs > context.reason_over:
        return not (reason or "").strip()
    return context.reasons.misses_for(action.value, context.actor, reason)


def takes_back(undo: Operation) -> bool:
    """Whether an undo did what could be done, or is about to: another one would only come too late."""
    match undo.status:
        case OperationStatus.PLANNING:
            return undo.then_run
        case OperationStatus.RUNNING | OperationStatus.PAUSED:
            return True
        case OperationStatus.DONE:
            return _LATER_PERHAPS.isdisjoint(undo.codes)
        case _:
            return False


def evolve(state: Operation | None, event: AnyOperationEvent, meta: Meta) -> Operation:  # noqa: C901, PLR0911 - one case per event
    """The operation after one more event.

    Raises:
        ValueError: the history is broken: it does not begin with the request, or has two of them.
    """
    if isinstance(event, OperationRequested):
        if state is not None:
            raise ValueError(f"operation {state.id} was requested twice")
        return _requested(event, meta)
    if state is None:
        raise ValueError(f"the history of operation {meta.stream_id} does not begin with its request")
    state = replace(state, version=meta.version)
    match event:
        case OperationPlanned():
            return _planned(state, event, meta)
        case OperationStarted():
            drift = None if event.added is None or event.gone is None else Drift(added=event.added, gone=event.gone)
            reason = meta.reason or state.reason
            started = replace(state, status=OperationStatus.RUNNING, started_at=meta.at, drift=drift, reason=reason)
            return replace(started, code=None, detail=None)
        case OperationPaused() if state.status is OperationStatus.PLANNING:
            return replace(state, then_run=False)
        case OperationPaused():
            return replace(state, status=OperationStatus.PAUSED)
        case OperationResumed():
            return replace(state, status=OperationStatus.RUNNING)
        case OperationStopped():
            return replace(state, status=OperationStatus.STOPPED, ended_at=meta.at)
        case OperationFinished():
            return replace(state, status=OperationStatus.DONE, ended_at=meta.at)
        case OperationFailed():
            failed = replace(state, status=OperationStatus.FAILED, ended_at=meta.at)
            return replace(failed, code=event.code, detail=event.detail)
        case _:
            assert_never(event)


def _requested(event: OperationRequested, meta: Meta) -> Operation:
    return Operation(
        id=meta.stream_id,
        action=event.action,
        status=OperationStatus.PLANNING,
        version=meta.version,
        actor=meta.actor,
        reason=meta.reason,
        filter=event.filter,
        edit=event.edit,
        rate=event.rate,
        then_run=event.then_run,
        undo_of=event.undo_of,
        requested_at=meta.at,
    )


def _planned(state: Operation, event: OperationPlanned, meta: Meta) -> Operation:
    planned = replace(
        state,
        status=OperationStatus.PLANNED,
        planned_at=meta.at,
        total=event.total,
        as_of=event.as_of,
        skipping=event.skipping,
    )
    if not state.then_run:
        return planned
    # Where it runs at once, the start follows in the same breath and clears this.
    return replace(planned, code="reason_required", detail=_WAITS_FOR_REASON)


def _refuse(code: str, state: Operation | None = None, **facts: JsonValue) -> Rejected:
    status: dict[str, JsonValue] = {} if state is None else {"operation_status": state.status.value}
    return Rejected(code, REFUSALS[code], status | facts)
