"""The bulk operations of the model: planned, carried out chunk by chunk, paused, stopped, undone."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.machine import jobs
from tests.machine.jobs import Job

CHUNK = 3
"""So many jobs at once: the machine makes the product's chunks as small."""
REASON_OVER = 4
"""More jobs than this are not changed without a reason."""
PLAN_KEPT = timedelta(hours=24)
INVERSE = {"retry": "cancel", "cancel": "restore", "restore": "cancel", "edit": "edit"}
ENDED = {"done", "stopped", "failed"}


@dataclass
class Item:
    """One job of an operation."""

    job: str
    expected: int | None = None
    edit: Job | None = None
    code: str | None = None
    version: int | None = None
    was: Job = field(default_factory=dict)


@dataclass
class Operation:
    """One operation."""

    id: str
    action: str
    actor: str
    reason: str | None
    ids: list[str] | None
    filter: dict[str, Any] | None
    edit: Job | None
    rate: float | None
    then_run: bool
    undo_of: str | None = None
    status: str = "planning"
    planned_at: datetime | None = None
    items: list[Item] = field(default_factory=list)
    chunk: int = CHUNK
    next_chunk: int = 0
    next_at: datetime | None = None

    @property
    def chunks(self) -> int:
        """How many."""
        return -(-len(self.items) // self.chunk)

    @property
    def done(self) -> int:
        """How many jobs it changed."""
        return sum(item.version is not None for item in self.items)

    @property
    def codes(self) -> dict[str, int]:
        """How many it did not, by the reason."""
        return dict(Counter(item.code for item in self.items if item.code))

    def is_due(self, now: datetime) -> bool:
        """Whether it may go on."""
        return self.status == "running" and (self.next_at is None or self.next_at <= now)


@dataclass
class Operations:
    """All of them, and the jobs that they change."""

    jobs: dict[str, Job]
    known: dict[str, Operation] = field(default_factory=dict)

    # What people ask for; each gives the code of its refusal.

    def plan(self, wanted: Operation) -> str | None:
        """Make one."""
        if wanted.id in self.known:
            return "operation_exists"
        if wanted.then_run and wanted.ids is not None and _lacks_reason(len(set(wanted.ids)), wanted.reason):
            return "reason_required"
        self.known[wanted.id] = wanted
        return None

    def undo(self, wanted: Operation) -> str | None:  # noqa: PLR0911 - one refusal each
        """Make one that takes another back."""
        undone = self.known.get(wanted.undo_of or "")
        if wanted.id in self.known:
            return "operation_exists"
        if undone is None:
            return "operation_not_found"
        if undone.status not in ENDED:
            return "operation_not_ended"
        if undone.action not in INVERSE:
            return "not_undoable"
        if not undone.done:
            return "nothing_to_undo"
        if self._taken_back(undone.id):
            return "already_undone"
        if wanted.then_run and _lacks_reason(undone.done, wanted.reason):
            return "reason_required"
        wanted.action = INVERSE[undone.action]
        self.known[wanted.id] = wanted
        return None

    def run(  # noqa: PLR0911 - one refusal each
        self, operation_id: str, who: tuple[str, bool], reason: str | None, max_drift: int | None, now: datetime
    ) -> str | None:
        """Carry a plan out; `who` asks for it, and whether that is a superadmin."""
        operation = self.known.get(operation_id)
        if operation is None:
            return "operation_not_found"
        if operation.status != "planned" or operation.planned_at is None:
            return "operation_not_planned"
        if operation.actor != who[0] and not who[1]:
            return "not_your_plan"
        if now > operation.planned_at + PLAN_KEPT:
            return "plan_expired"
        if operation.undo_of is not None and self._taken_back(operation.undo_of):
            return "already_undone"
        if _lacks_reason(len(operation.items), reason or operation.reason):
            return "reason_required"
        if operation.filter is not None and max_drift is not None:
            drift = {job["id"] for job in self._fitting(operation.filter)} ^ {item.job for item in operation.items}
            if len(drift) > max_drift:
                return "plan_drifted"
        operation.status = "running"
        operation.reason = reason or operation.reason
        return None

    def pause(self, operation_id: str) -> str | None:
        """Touch no further job for the time being; what is still planned stays so until it is run."""
        operation = self.known.get(operation_id)
        if operation is not None and operation.status == "planning" and operation.then_run:
            operation.then_run = False
            return None
        return self._move(operation_id, {"running"}, "paused", "operation_not_running")

    def resume(self, operation_id: str) -> str | None:
        """Go on."""
        return self._move(operation_id, {"paused"}, "running", "operation_not_paused")

    def stop(self, operation_id: str) -> str | None:
        """Touch no further job for ever."""
        return self._move(operation_id, {"planning", "planned", "running", "paused"}, "stopped", "operation_ended")

    def _taken_back(self, operation_id: str) -> bool:
        """Whether another undo of it is under way, or did all that could be done."""
        for undo in self.known.values():
            if undo.undo_of == operation_id:
                waits = undo.status == "planning" and undo.then_run
                over = undo.status == "done" and not {"stop_pending", "unique_key_taken"} & undo.codes.keys()
                if waits or over or undo.status in {"running", "paused"}:
                    return True
        return False

    def _move(self, operation_id: str, before: set[str], after: str, code: str) -> str | None:
        operation = self.known.get(operation_id)
        if operation is None:
            return "operation_not_found"
        if operation.status not in before:
            return code
        operation.status = after
        return None

    # What the service does by itself.

    def planned(self, operation: Operation, now: datetime) -> None:
        """The planner settles which jobs it is about."""
        if operation.undo_of is not None:
            undone = self.known[operation.undo_of]
            done = [item for item in undone.items if item.version is not None]
            edits = operation.action == "edit"
            items = [Item(item.job, item.version, item.was if edits else None) for item in done]
        elif operation.ids is not None:
            items = [Item(job) for job in set(operation.ids)]
        else:
            items = [Item(job["id"]) for job in self._fitting(operation.filter or {})]
        operation.items = sorted(items, key=lambda item: (int(item.job[-1], 16), item.job))
        if operation.rate is not None:
            operation.chunk = max(1, min(CHUNK, int(operation.rate)))
        operation.planned_at = now
        runs = operation.then_run and not _lacks_reason(len(items), operation.reason)
        operation.status = "running" if runs else "planned"

    def carry_out(self, operation: Operation, now: datetime) -> None:
        """One chunk: all of its jobs are looked at as they are before any of them is changed."""
        start = operation.next_chunk * operation.chunk
        some = operation.items[start : start + operation.chunk]
        if operation.status != "running" or not some:
            return
        keys: set[tuple[str, str]] = set()
        for item in some:
            item.code = self._code(operation, item, now)
            if operation.action in {"retry", "restore"} and item.code is None:
                key = jobs.key_of(self.jobs[item.job])
                if key in keys:
                    item.code = "unique_key_taken"
                elif key is not None:
                    keys.add(key)
        for item in some:
            if item.code is None:
                job = self.jobs[item.job]
                item.was = jobs.do(operation.action, job, _edit(operation, item), now)
                item.version = job["version"]
        operation.next_chunk += 1
        if operation.rate is not None:
            operation.next_at = now + timedelta(seconds=len(some) / operation.rate)

    def finish(self, operation: Operation) -> None:
        """Every job of it was looked at."""
        if operation.status == "running":
            operation.status = "done"

    def _code(self, operation: Operation, item: Item, now: datetime) -> str | None:
        job = self.jobs.get(item.job)
        if job is None:
            return "job_not_found"
        if jobs.changed_since(job, item.expected):
            return "changed_since"
        return jobs.refuses(operation.action, job, self.jobs.values(), _edit(operation, item), now)

    def _fitting(self, wanted: dict[str, Any]) -> list[Job]:
        return [job for job in self.jobs.values() if all(job[name] in values for name, values in wanted.items())]


def _edit(operation: Operation, item: Item) -> Job:
    return item.edit or operation.edit or {}


def _lacks_reason(count: int, reason: str | None) -> bool:
    return count > REASON_OVER and not reason
