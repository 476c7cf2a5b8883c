"""Mistakes made on purpose, one at a time: the simulation must find each of them, or it proves nothing."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final
from unittest import mock

from psycopg.errors import UniqueViolation

from jobplane.chassis.intake import Delivery, Intake
from jobplane.contracts.commands import CreateJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import AnyJobEvent, JobRetried
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.workers import LeasedJob
from jobplane.jobs import claims, leases, ledger, runs
from jobplane.jobs.decider import Context, Decision, LeaseLost, Report
from jobplane.jobs.error_groups import Grouping
from jobplane.jobs.job import Job
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.queue import Control
from jobplane.jobs.store import ById, Due, Known, UniqueKey
from jobplane.jobs.wishes import Settled, Wish
from tests.simulation import memory_store
from tests.simulation.memory_database import MemoryDatabase, Row, Staged
from tests.simulation.memory_store import MemoryWriting


def _patched(*targets: tuple[Any, str, Any]) -> AbstractContextManager[object]:
    stack = ExitStack()
    for owner, name, mistake in targets:
        stack.enter_context(mock.patch.object(owner, name, mistake))
    return stack


def the_token_is_not_compared() -> AbstractContextManager[object]:
    """Any worker may end any run."""

    def report(command: Report, state: Job, context: Context) -> Decision:
        return runs._run_ended(command, state, context) if state.status is JobStatus.RUNNING else LeaseLost()

    return _patched((runs, "_report", report))


def a_rollback_keeps_its_positions() -> AbstractContextManager[object]:
    """As with a sequence or an identity column."""
    return _patched((MemoryDatabase, "give_back", lambda _self, _count: None))


def commands_are_acknowledged_before_they_are_decided() -> AbstractContextManager[object]:
    """A crash in between loses them."""
    patiently = Intake._handle_patiently

    async def handle(self: Intake, batch: Sequence[Delivery], *more: Any) -> None:
        await self._acknowledge(batch, b"+ACK")
        await patiently(self, batch, *more)

    return _patched((Intake, "_handle_patiently", handle))


def outcomes_are_not_looked_up() -> AbstractContextManager[object]:
    """A redelivered command is decided again, and nothing stops it."""
    known, check = ledger._known, MemoryDatabase.check_unique

    def forgetful(wishes: Sequence[Wish], *more: Any) -> Known:
        return replace(known(wishes, *more), command_ids=())

    def lenient(self: MemoryDatabase, staged: Staged) -> None:
        with mock.patch.object(self, "outcomes", {}):
            check(self, staged)

    return _patched((ledger, "_known", forgetful), (MemoryDatabase, "check_unique", lenient))


def rows_are_not_locked() -> AbstractContextManager[object]:
    """Two writers decide about the same state, and the second overwrites the first."""

    async def lock(_self: MemoryWriting, _job_id: JobId) -> None:
        return None

    return _patched((MemoryWriting, "_lock_row", lock), (MemoryDatabase, "check_unique", MemoryDatabase.check_keys))


def rows_are_locked_as_they_come() -> AbstractContextManager[object]:
    """Two batches about the same jobs wait for each other."""
    return _patched((memory_store, "in_order", lambda ids: list(dict.fromkeys(ids))))


def unique_keys_are_only_looked_up() -> AbstractContextManager[object]:
    """Neither a lock nor an index keeps two creations apart."""

    async def look(self: MemoryWriting, known: Known) -> dict[UniqueKey, JobId]:
        return self._database.holders_of(self._wanted(known))

    return _patched((MemoryWriting, "_lock_keys", look), (MemoryDatabase, "check_keys", lambda _self, _staged: None))


def leases_expire_early() -> AbstractContextManager[object]:
    """The rescuer compares with a clock that is ahead."""
    is_due = MemoryDatabase.is_due

    def early(self: MemoryDatabase, row: Row, due: Due) -> bool:
        ahead = self.now() + timedelta(seconds=0.5)
        with mock.patch.object(self, "now", return_value=ahead):
            return is_due(self, row, due)

    return _patched(
        (MemoryDatabase, "is_due", early),
        (MemoryDatabase, "_workers_were_heard", lambda _self, _job, _now: True),
        (runs, "_expire", partial(_expire_unchecked, runs._expire)),
    )


def _expire_unchecked(expire: Callable[..., Decision], command: runs.ExpireLease, *more: Any) -> Decision:
    return expire(runs.ExpireLease(command.job_id, command.lease_ends_at - timedelta(days=1)), *more)


def counters_survive_a_rollback() -> AbstractContextManager[object]:
    """They are moved beside the transaction instead of in it."""
    check = MemoryDatabase.check_unique

    def count_first(self: MemoryDatabase, staged: Staged) -> None:
        try:
            check(self, staged)
        except UniqueViolation:
            for key, n in staged.counts.items():
                self.counts[key] = self.counts.get(key, 0) + n
            raise

    return _patched((MemoryDatabase, "check_unique", count_first))


def a_repeated_request_gets_what_another_worker_got() -> AbstractContextManager[object]:
    """Answers to lease requests are found by queue alone."""
    return _patched((claims, "_wish", _wish_of_nobody))


def _wish_of_nobody(job_id: JobId, request: Any) -> Wish:
    return _WISH(job_id, request.model_copy(update={"worker": "worker-1"}))


_WISH: Final = claims._wish


def a_promise_is_kept_although_the_lease_was_refused() -> AbstractContextManager[object]:
    """A creation that comes again finds its job running, and it is handed out once more."""

    async def settle(self: Ledger, wishes: Sequence[Wish], then: Sequence[Wish] = ()) -> list[Settled]:
        ids = [wish.command.job_id for wish in wishes]
        return await self.write(ById(ids), lambda _found, _now: [*wishes, *then], wishes)

    def new_job(_creation: CreateJob, lease: Settled) -> LeasedJob | None:
        return claims.leased_job(lease.held, {}) if lease.held is not None else None

    return _patched((Ledger, "settle", settle), (leases, "new_job", new_job))


def a_cancel_does_not_fence() -> AbstractContextManager[object]:
    """The cancelled run may still complete the job."""

    def report(command: Report, state: Job, context: Context) -> Decision:
        if command.token == state.stop_token:
            return runs._run_ended(command, state, context)
        return _REPORT(command, state, context)

    return _patched((runs, "_report", report))


_REPORT: Final = runs._report


def a_retried_job_stays_in_its_error_group() -> AbstractContextManager[object]:
    """Only what becomes FAILED is counted, not what is no more."""
    hear = Grouping.hear

    def forget(self: Grouping, before: Job | None, event: AnyJobEvent, after: Job) -> None:
        hear(self, None if isinstance(event, JobRetried) else before, event, after)

    return _patched((Grouping, "hear", forget))


def a_pause_does_not_wait_for_those_who_start_jobs() -> AbstractContextManager[object]:
    """Whoever looked before it starts jobs behind it."""
    change = MemoryDatabase.change_control

    def at_once(self: MemoryDatabase, control: Control) -> bool:
        with mock.patch.object(self, "sessions", {}):
            return change(self, control)

    return _patched((MemoryDatabase, "change_control", at_once))


MUTANTS: Final[dict[str, tuple[Callable[[], AbstractContextManager[object]], str]]] = {
    mutant.__name__: (mutant, caught_by)
    for mutant, caught_by in (
        (the_token_is_not_compared, "reports_are_true"),
        (a_rollback_keeps_its_positions, "positions_are_gapless"),
        (commands_are_acknowledged_before_they_are_decided, "commands_did_what_was_answered"),
        (outcomes_are_not_looked_up, "commands_did_what_was_answered"),
        (rows_are_not_locked, "every_history_is_possible"),
        (rows_are_locked_as_they_come, "nobody_waits_in_a_circle"),
        (unique_keys_are_only_looked_up, "unique_keys_are_unique"),
        (leases_expire_early, "leases_are_respected"),
        (counters_survive_a_rollback, "counters_are_counts"),
        (a_repeated_request_gets_what_another_worker_got, "runs_are_given_once"),
        (a_promise_is_kept_although_the_lease_was_refused, "runs_are_given_once"),
        (a_cancel_does_not_fence, "every_history_is_possible"),
        (a_retried_job_stays_in_its_error_group, "error_groups_are_counts"),
        (a_pause_does_not_wait_for_those_who_start_jobs, "pauses_are_kept"),
    )
}
"""Each mistake, and the invariant that speaks up."""
