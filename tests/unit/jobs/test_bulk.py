"""Which command an operation takes when: given these events, when this command comes, then this happens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.ids import JobId, Position
from jobplane.contracts.operations import (
    AnyOperationEvent,
    BulkAction,
    BulkEdit,
    Drift,
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
from jobplane.jobs.bulk import (
    INVERSE,
    PLAN_KEPT,
    REFUSALS,
    AnyCommand,
    Context,
    Finish,
    GiveUp,
    Meta,
    Operation,
    Planned,
    decide,
    evolve,
    takes_back,
)
from jobplane.jobs.decider import Rejected
from jobplane.jobs.reasons import ReasonPolicy

ID = "019aa000-0000-7000-8000-0000000000b3"
JOB = JobId("019aa000-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
ADMIN = Actor(id="admin", kind=ActorKind.USER, role=Role.ADMIN)
OTHER = Actor(id="other", kind=ActorKind.USER, role=Role.ADMIN)
CHIEF = Actor(id="chief", kind=ActorKind.USER, role=Role.SUPERADMIN)
CONTEXT = Context(now=NOW, actor=ADMIN, reason=None, reason_over=100)
RETRY = BulkAction.RETRY
REQUESTED = OperationRequested(action=RETRY, jobs=3)
PLANNED = OperationPlanned(action=RETRY, total=3, as_of=Position(9))
STARTED = OperationStarted(action=RETRY, total=3)
PAUSED = OperationPaused(action=RETRY)


def given(*events: AnyOperationEvent, **changes: Any) -> Operation:
    state: Operation | None = None
    for version, event in enumerate(events, start=1):
        state = evolve(state, event, Meta(ID, version, NOW, ADMIN, None))
    assert state is not None
    return replace(state, **changes)


def code_of(command: AnyCommand, state: Operation | None = None, **context: Any) -> str:
    decision = decide(command, state, replace(CONTEXT, **context))
    assert isinstance(decision, Rejected), decision
    assert decision.detail == REFUSALS[decision.code]
    return decision.code


def events_of(command: AnyCommand, state: Operation | None = None, **context: Any) -> tuple[AnyOperationEvent, ...]:
    decision = decide(command, state, replace(CONTEXT, **context))
    assert not isinstance(decision, Rejected), decision
    return decision


def plan(**more: Any) -> PlanOperation:
    return PlanOperation(**({"operation_id": ID, "action": "retry", "ids": [JOB]} | more))


RUN = RunOperation(operation_id=ID)


def test_a_request_counts_each_job_once() -> None:
    [event] = events_of(plan(ids=[JOB, JOB]))
    assert event == OperationRequested(action=RETRY, jobs=1)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (plan(ids=None), "selector_required"),
        (plan(filter={}), "selector_ambiguous"),
        (plan(action="edit"), "edit_required"),
        (plan(action="edit", edit=BulkEdit()), "edit_required"),
        (plan(edit=BulkEdit(priority=1)), "edit_not_allowed"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(command: PlanOperation, code: str) -> None:
    assert code_of(command) == code


def test_many_jobs_are_not_changed_without_a_reason() -> None:
    ids = [f"019aa000-0000-7000-8000-{number:012d}" for number in range(101)]
    assert code_of(plan(ids=ids, then_run=True)) == "reason_required"
    assert code_of(plan(ids=ids, then_run=True), reason="  ") == "reason_required"
    assert events_of(plan(ids=ids, then_run=True), reason="why")
    assert events_of(plan(ids=ids[:100], then_run=True))
    assert events_of(plan(ids=ids))
    assert code_of(RUN, given(REQUESTED, replace_total(101))) == "reason_required"
    assert events_of(RUN, given(REQUESTED, replace_total(101)), reason="why")


def test_a_verb_that_needs_a_reason_needs_it_for_few_jobs_too() -> None:
    policy = ReasonPolicy.of(["cancel", "retry"])
    for action in (BulkAction.CANCEL, BulkAction.RETRY):
        assert code_of(plan(action=action, then_run=True), reasons=policy) == "reason_required"
        assert events_of(plan(action=action, then_run=True), reasons=policy, reason="why")
        assert events_of(plan(action=action), reasons=policy), "a plan changes nothing"
    assert events_of(plan(action=BulkAction.RUN, then_run=True), reasons=policy)
    assert code_of(RUN, given(REQUESTED, PLANNED), reasons=policy) == "reason_required"
    assert events_of(RUN, given(REQUESTED, PLANNED), reasons=policy, reason="why")


def replace_total(total: int) -> OperationPlanned:
    return PLANNED.model_copy(update={"total": total})


def test_what_is_to_run_at_once_starts_with_the_plan_unless_a_reason_is_missing() -> None:
    waiting = given(REQUESTED.model_copy(update={"then_run": True, "jobs": None, "filter": {}}))
    planned = Planned(101, Position(9), {})
    assert [event.TYPE for event in events_of(planned, waiting)] == [OperationPlanned.TYPE]
    assert [event.TYPE for event in events_of(planned, replace(waiting, reason="why"))] == [
        OperationPlanned.TYPE,
        OperationStarted.TYPE,
    ]
    stays = evolve(waiting, replace_total(101), Meta(ID, 2, NOW, ADMIN, None))
    assert (stays.status, stays.code) == (OperationStatus.PLANNED, "reason_required")
    runs = evolve(stays, STARTED, Meta(ID, 3, NOW, ADMIN, "why"))
    assert (runs.status, runs.code, runs.reason) == (OperationStatus.RUNNING, None, "why")


def test_only_who_planned_it_may_run_it_or_a_superadmin() -> None:
    planned = given(REQUESTED, PLANNED)
    assert code_of(RUN, planned, actor=OTHER) == "not_your_plan"
    assert events_of(RUN, planned, actor=CHIEF) == (STARTED,)
    assert events_of(RUN, planned) == (STARTED,)


def test_an_old_plan_is_not_run() -> None:
    planned = given(REQUESTED, PLANNED)
    assert events_of(RUN, planned, now=NOW + PLAN_KEPT)
    assert code_of(RUN, planned, now=NOW + PLAN_KEPT + timedelta(seconds=1)) == "plan_expired"


def test_a_plan_that_drifted_is_run_only_if_the_caller_allows_it_and_says_so_always() -> None:
    planned, drift = given(REQUESTED, PLANNED), Drift(added=12, gone=3)
    assert code_of(RunOperation(operation_id=ID, max_drift=14), planned, drift=drift) == "plan_drifted"
    [event] = events_of(RunOperation(operation_id=ID, max_drift=15), planned, drift=drift)
    assert event == OperationStarted(action=RETRY, total=3, added=12, gone=3)
    assert events_of(RUN, planned, drift=drift) == (event,)
    assert given(REQUESTED, PLANNED, event).drift == drift


STATES = {
    "planning": given(REQUESTED),
    "planned": given(REQUESTED, PLANNED),
    "running": given(REQUESTED, PLANNED, STARTED),
    "paused": given(REQUESTED, PLANNED, STARTED, PAUSED),
    "done": given(REQUESTED, PLANNED, STARTED, OperationFinished(action=RETRY, done=3)),
    "stopped": given(REQUESTED, OperationStopped(action=RETRY, done=0)),
}
COMMANDS: dict[str, tuple[AnyCommand, set[str], str]] = {
    "run": (RUN, {"planned"}, "operation_not_planned"),
    "pause": (PauseOperation(operation_id=ID), {"running"}, "operation_not_running"),
    "resume": (ResumeOperation(operation_id=ID), {"paused"}, "operation_not_paused"),
    "stop": (StopOperation(operation_id=ID), {"planning", "planned", "running", "paused"}, "operation_ended"),
    "finish": (Finish(), {"running"}, "operation_not_running"),
    "planned": (Planned(3, Position(9), {}), {"planning"}, "operation_ended"),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("asked", COMMANDS)
def test_each_command_is_for_its_states(name: str, asked: str) -> None:
    command, allowed, code = COMMANDS[asked]
    if name in allowed:
        assert events_of(command, STATES[name])
    else:
        assert code_of(command, STATES[name]) == code
    assert code_of(command) == "operation_not_found"


def test_an_operation_that_cannot_be_planned_says_why() -> None:
    [event] = events_of(GiveUp("field_redacted", "Leave it out."), STATES["planning"])
    failed = evolve(STATES["planning"], event, Meta(ID, 2, NOW, ADMIN, None))
    assert (failed.status, failed.code, failed.detail) == (OperationStatus.FAILED, "field_redacted", "Leave it out.")


def test_a_pause_ends_with_a_resume() -> None:
    resumed = evolve(STATES["paused"], OperationResumed(action=RETRY), Meta(ID, 5, NOW, ADMIN, None))
    assert (resumed.status, resumed.version) == (OperationStatus.RUNNING, 5)


UNDO = UndoOperation(operation_id=ID, undo_of="019aa000-0000-7000-8000-0000000000b0", then_run=True)


@pytest.mark.parametrize("action", INVERSE)
def test_what_was_done_is_taken_back_by_its_opposite(action: BulkAction) -> None:
    undone = replace(STATES["done"], action=action, done=2)
    [event] = events_of(UNDO, None, undone=undone)
    assert isinstance(event, OperationRequested)
    assert (event.action, event.jobs, event.undo_of) == (INVERSE[action], 2, undone.id)


def test_what_was_taken_back_is_not_taken_back_again() -> None:
    undone = replace(STATES["done"], done=2)
    assert code_of(UNDO, None, undone=undone, undone_by="another") == "already_undone"
    assert code_of(RUN, replace(given(REQUESTED, PLANNED), undo_of=undone.id), undone_by="another") == "already_undone"


@pytest.mark.parametrize(
    ("name", "changes", "taken_back"),
    [
        ("planning", {"then_run": True}, True),
        ("planning", {"then_run": False}, False),
        ("planned", {}, False),
        ("running", {}, True),
        ("paused", {}, True),
        ("stopped", {}, False),
        ("done", {"codes": {"changed_since": 1}}, True),
        ("done", {"codes": {"changed_since": 1, "stop_pending": 1}}, False),
        ("done", {"codes": {"unique_key_taken": 1}}, False),
    ],
)
def test_an_undo_that_left_what_may_be_done_later_does_not_stand_in_the_way(
    name: str, changes: dict[str, Any], taken_back: bool
) -> None:
    assert takes_back(replace(STATES[name], **changes)) is taken_back


def test_what_is_paused_while_it_is_planned_stays_planned() -> None:
    waiting = given(REQUESTED.model_copy(update={"then_run": True}))
    pause = PauseOperation(operation_id=ID)
    [paused] = events_of(pause, waiting)
    held = evolve(waiting, paused, Meta(ID, 2, NOW, ADMIN, None))
    assert (held.status, held.then_run) == (OperationStatus.PLANNING, False)
    assert code_of(pause, held) == "operation_not_running"
    [planned] = events_of(Planned(3, Position(9), {}), held)
    stays = evolve(held, planned, Meta(ID, 3, NOW, ADMIN, None))
    assert (stays.status, stays.code) == (OperationStatus.PLANNED, None)
    assert events_of(RUN, stays)


def test_a_plan_is_run_for_what_it_was_made() -> None:
    planned = given(REQUESTED, PLANNED)
    assert code_of(RunOperation(operation_id=ID, action=BulkAction.CANCEL), planned) == "plan_mismatch"
    assert events_of(RunOperation(operation_id=ID, action=RETRY), planned)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"action": BulkAction.RUN, "done": 1}, "not_undoable"),
        ({"done": 0}, "nothing_to_undo"),
        ({"done": 1, "status": OperationStatus.RUNNING}, "operation_not_ended"),
        ({"done": 101}, "reason_required"),
    ],
)
def test_not_everything_can_be_taken_back(changes: dict[str, Any], code: str) -> None:
    assert code_of(UNDO, None, undone=replace(STATES["done"], **changes)) == code
    assert code_of(UNDO) == "operation_not_found"


def test_a_history_begins_with_the_request_and_has_one() -> None:
    with pytest.raises(ValueError, match="does not begin"):
        evolve(None, PAUSED, Meta(ID, 1, NOW, ADMIN, None))
    with pytest.raises(ValueError, match="twice"):
        evolve(STATES["planning"], REQUESTED, Meta(ID, 2, NOW, ADMIN, None))
