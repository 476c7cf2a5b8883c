"""Draws the life of a job from `decide` itself; run as a module it writes docs/state_machine.md."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, assert_never

from jobplane.contracts.commands import CancelJob, CreateJob, EditJob, ForceRunJob, RestoreJob, RetryJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.decider import (
    MAX_ORPHANINGS,
    REFUSALS,
    TIMED_OUT,
    Accepted,
    AlreadyThere,
    AnyCommand,
    ArchiveJob,
    CompleteJob,
    Context,
    Decision,
    ExpireLease,
    FailJob,
    LeaseJob,
    LeaseLost,
    Nothing,
    Rejected,
    ReleaseJob,
    SettleStop,
    StopReported,
    TimeoutJob,
    decide,
)
from jobplane.jobs.job import Job, Meta, evolve
from jobplane.jobs.retry_policy import backoff

PAGE: Final = Path("docs/state_machine.md")

_BORN: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NOW: Final = _BORN + timedelta(hours=1)
_JOB: Final = JobId("019b76da-a800-7000-8000-000000000001")
_OTHER: Final = JobId("019b76da-a800-7000-8000-000000000002")
_TOKEN: Final = "the token of the latest run"  # noqa: S105 - stands for a token, is none
_TIMEOUT_MS: Final = 60_000

Change = Callable[[Job], Job]

_CREATE: Final = CreateJob(job_id=_JOB, kind="a.kind", unique_key="a key", timeout_ms=_TIMEOUT_MS)
_LEASE: Final = LeaseJob(_JOB, "worker-1", _TOKEN, 30_000)
_COMPLETE: Final = CompleteJob(_JOB, _TOKEN)
_FAIL: Final = FailJob(_JOB, _TOKEN, TIMED_OUT)
_CANCEL: Final = CancelJob(job_id=_JOB)
_OVER: Final = ExpireLease(_JOB, lease_ends_at=_NOW)

_SITUATIONS: Final[dict[str, tuple[AnyCommand, ...]]] = {
    "no job": (),
    "PENDING": (_CREATE,),
    "RUNNING": (_CREATE, _LEASE),
    "COMPLETED": (_CREATE, _LEASE, _COMPLETE),
    "FAILED": (_CREATE, _LEASE, replace(_FAIL, retryable=False)),
    "CANCELLED": (_CREATE, _CANCEL),
    "CANCELLED, stop pending": (_CREATE, _LEASE, _CANCEL),
    "CANCELLED, stop settled": (_CREATE, _LEASE, _CANCEL, SettleStop(_JOB)),
}
"""One representative job per column, by the commands that lead to it."""


@dataclass(frozen=True, slots=True)
class _Row:
    command: AnyCommand
    when: str = ""
    holder: JobId | None = None
    change: Change = lambda job: job


def _last_attempt(job: Job) -> Job:
    return replace(job, max_attempts=max(job.attempt, 1))


def _tried_twice(job: Job) -> Job:
    return replace(job, attempt=2)


def _rows() -> Iterator[_Row]:
    yield _Row(_CREATE)
    yield _Row(_CREATE, "unique key taken", holder=_OTHER)
    yield _Row(_LEASE)
    yield _Row(_LEASE, "before its time", change=lambda job: replace(job, run_at=_NOW + timedelta(hours=1)))
    yield _Row(ReleaseJob(_JOB, _TOKEN, "drained"))
    yield _Row(_COMPLETE)
    yield _Row(_FAIL)
    yield _Row(_FAIL, "last attempt", change=_last_attempt)
    yield _Row(replace(_FAIL, retryable=False), "not retryable")
    yield _Row(replace(_COMPLETE, token="any other"), "any other token")  # noqa: S106 - stands for a token, is none
    yield _Row(StopReported(_JOB, _TOKEN, "cancelled"), "cancelled")
    yield _Row(StopReported(_JOB, _TOKEN, "completed"), "completed")
    yield _Row(SettleStop(_JOB))
    yield _Row(TimeoutJob(_JOB))
    yield _Row(TimeoutJob(_JOB), "last attempt", change=_last_attempt)
    yield _Row(TimeoutJob(_JOB), "time not passed", change=lambda job: replace(job, timeout_ms=2 * 3600 * 1000))
    yield _Row(_OVER)
    yield _Row(_OVER, f"{MAX_ORPHANINGS} in a row", change=lambda job: replace(job, orphanings=MAX_ORPHANINGS - 1))
    yield _Row(replace(_OVER, lease_ends_at=_NOW + timedelta(seconds=1)), "renewed meanwhile")
    yield _Row(RetryJob(job_id=_JOB))
    yield _Row(RetryJob(job_id=_JOB), "unique key taken", holder=_OTHER)
    yield _Row(_CANCEL)
    yield _Row(ForceRunJob(job_id=_JOB))
    yield _Row(RestoreJob(job_id=_JOB))
    yield _Row(RestoreJob(job_id=_JOB), "unique key taken", holder=_OTHER)
    yield _Row(EditJob(job_id=_JOB, priority=7))
    yield _Row(EditJob(job_id=_JOB, priority=0), "as it is")
    yield _Row(ArchiveJob(_JOB, timedelta()))
    yield _Row(ArchiveJob(_JOB, timedelta(days=1)), "not old enough")
    yield _Row(EditJob(job_id=_JOB, max_attempts=1), "too few attempts", change=_tried_twice)


def render() -> str:
    """The page: diagram, table, what the words in it mean, refusals, waits."""
    situations = {name: _lived(commands) for name, commands in _SITUATIONS.items()}
    table: list[list[str]] = []
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in _rows():
        cells = [_heading(row)]
        for state in situations.values():
            decision = decide(row.command, state and row.change(state), Context(now=_NOW, holder=row.holder))
            cells.append(_cell(decision))
            if isinstance(decision, Accepted):
                _note(arrows, decision)
        table.append(cells)
    lines = [
        "# The life of a job",
        "",
        "Generated from `decide` by `python -m jobplane.jobs.state_machine`; a test compares this page with the code.",
        "",
        "```mermaid",
        *_diagram(arrows),
        "```",
        "",
        "A job that waits for its time or its next attempt is PENDING with `run_at` in the future.",
        "",
        "## Every command in every state",
        "",
        *_markdown_table(["command", *situations], table),
        "",
        *_LEGEND,
        "",
        "## Refusals",
        "",
        *_markdown_table(["code", "what to do"], [[f"`{code}`", detail] for code, detail in REFUSALS.items()]),
        "",
        "## Waits before the next attempt",
        "",
        "After a failure the wait goes by `attempt`, after an orphaning by the orphanings in a row.",
        "",
        *_markdown_table(["after", "shortest", "longest"], [_wait(number) for number in range(1, 13)]),
        "",
    ]
    return "\n".join(lines)


_LEGEND: Final = (
    "Worker reports (`ReleaseJob`, `CompleteJob`, `FailJob`, `StopReported`) carry the token of the job's latest run",
    "here, if it had one, unless the row says otherwise.",
    "",
    "- `Event` → STATUS: the event that is recorded, and the status after it.",
    "- `a_code`: a refusal (see below); nothing is recorded of the job.",
    "- *existing job*: the job that holds the unique key is answered instead.",
    "- *nothing*: there is nothing to do (any more), for example because the same was reported before.",
    "- *lease lost*: the run is fenced, what its worker reports is not taken.",
)


def _lived(commands: tuple[AnyCommand, ...]) -> Job | None:
    state: Job | None = None
    for version, command in enumerate(commands, start=1):
        decision = decide(command, state, Context(now=_BORN))
        if not isinstance(decision, Accepted):
            raise TypeError(f"{command} must be accepted on the way to a situation, not {decision}")
        for event in decision.events:
            state = evolve(state, event, Meta(_JOB, version, _BORN, "0" * 32, decision.token))
    return state


def _heading(row: _Row) -> str:
    name = type(row.command).__name__
    return f"{name}, {row.when}" if row.when else name


def _cell(decision: Decision) -> str:
    match decision:
        case Accepted():
            return "<br>".join(f"`{type(event).__name__}` → {event.after}" for event in decision.events)
        case Rejected():
            return f"`{decision.code}`"
        case AlreadyThere():
            return "*existing job*"
        case Nothing():
            return "*nothing*"
        case LeaseLost():
            return "*lease lost*"
        case _:
            assert_never(decision)


def _note(arrows: dict[tuple[str, str], list[str]], decision: Accepted) -> None:
    for event in decision.events:
        names = arrows.setdefault((event.before or "[*]", event.after), [])
        if (name := type(event).__name__) not in names:
            names.append(name)


def _diagram(arrows: dict[tuple[str, str], list[str]]) -> Iterator[str]:
    yield "stateDiagram-v2"
    order = ["[*]", *JobStatus]
    for before, after in sorted(arrows, key=lambda arrow: (order.index(arrow[0]), order.index(arrow[1]))):
        yield f"    {before} --> {after}: {', '.join(arrows[before, after])}"


def _wait(number: int) -> list[str]:
    shortest, longest = backoff(number, 0), backoff(number, 1)
    return [str(number) if number < 12 else f"{number} and later", str(shortest), str(longest)]  # noqa: PLR2004 - capped


def _markdown_table(head: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> None:
    """Write the page (to the path given as the first argument, if one is)."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    path.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
