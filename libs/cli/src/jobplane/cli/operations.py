"""Bulk operations from the plan to the end: show the plan, ask, run it, follow it."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

from jobplane.cli import asking, output
from jobplane.cli.asking import YesOption
from jobplane.cli.client import Client, part
from jobplane.cli.failures import Failed
from jobplane.cli.job_control import ReasonOption, given
from jobplane.cli.refusals import drifted
from jobplane.cli.target import Common

ENDED: Final = frozenset({"done", "stopped", "failed"})
_FIRST_LOOK_S: Final = 0.05
_LAST_LOOK_S: Final = 1.0
_WAIT: Final = {"Prefer": "wait=10"}

Operation = dict[str, Any]
Progress = Callable[[Operation], None]
"""Told how far an operation is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How what is planned is to be carried out."""

    reason: ReasonOption = None
    detach: Annotated[bool, typer.Option("--detach", help="Start it and do not wait for its end.")] = False
    yes: YesOption = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms(Terms):
    """The same for what is still to be planned."""

    rate: Annotated[float | None, typer.Option("--rate", min=0.1, help="At most so many jobs a second.")] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan; run it later with `bulk start ID`.")] = False


def begin(common: Common, path: str, wish: dict[str, Any], terms: PlanTerms) -> None:
    """Plan it, show the plan and, if that is wanted, run it and follow it to its end.

    Raises:
        Failed: it was refused, is not wanted, or nothing was done.
    """
    body = wish | given({"reason": terms.reason, "rate": terms.rate}) | {"dry_run": True}
    with common.client() as client:
        plan = _planned(client, client.post(path, body, headers=_WAIT))
        if terms.dry_run:
            if not common.as_json:
                _explain(plan)
            _show(plan, as_json=common.as_json)
            if not common.as_json:
                typer.echo(f"run it: jobplane bulk start {plan['id']}")
            return
        try:
            _require_use(plan)
            _agree(plan, yes=terms.yes, as_json=common.as_json)
        except (Failed, typer.Abort):
            _drop(client, plan)
            raise
        try:
            running = _started(client, plan, terms.reason)
        except Failed:
            typer.echo(f"Its plan waits, for a day: jobplane bulk start {plan['id']}", err=True)
            raise
        _follow(client, plan, running, detach=terms.detach, as_json=common.as_json)


def run_plan(common: Common, operation_id: str, max_drift: int | None, terms: Terms) -> None:
    """Run a plan, after asking if it is about many jobs, and follow it.

    Raises:
        Failed: as in `begin`.
    """
    with common.client() as client:
        plan = look(client, operation_id)
        _agree(plan, yes=terms.yes, as_json=common.as_json)
        running = _started(client, plan, terms.reason, max_drift)
        _follow(client, plan, running, max_drift, detach=terms.detach, as_json=common.as_json)


def _require_use(plan: Operation) -> None:
    if _is_vain(plan):
        codes = output.counts(plan["skipping"])
        message = f"Of {output.jobs(plan['total'])} each would be skipped ({codes}): nothing was done."
        raise Failed(message)


def _agree(plan: Operation, *, yes: bool, as_json: bool) -> None:
    total = plan.get("total") or 0
    if total == 0:
        message = "No job fits: nothing was done."
        raise Failed(message)
    if not as_json:
        _explain(plan)
    asking.agree(f"{plan['action']} {output.jobs(total)}", total, yes=yes)


def _is_vain(plan: Operation) -> bool:
    """There are jobs, but none that anything could be done to."""
    skipping = sum((plan.get("skipping") or {}).values())
    return bool(skipping == plan.get("total") != 0)


def _drop(client: Client, plan: Operation) -> None:
    """Leave no plan behind that nobody wants; if it cannot be stopped, it is never run and is soon over by itself."""
    if not plan.get("total"):
        reason = "no job fits"
    else:
        reason = "each job would be skipped" if _is_vain(plan) else "it was not confirmed"
    with suppress(Failed):
        client.post(f"/operations/{part(plan['id'])}/stop", {"reason": reason})


def _started(client: Client, plan: Operation, reason: str | None, max_drift: int | None = None) -> Operation:
    wish = given({"reason": reason, "max_drift": max_drift})
    running: Operation = client.post(f"/operations/{part(plan['id'])}/run", wish, headers=_WAIT)
    return running


def _follow(
    client: Client, plan: Operation, running: Operation, max_drift: int | None = None, *, detach: bool, as_json: bool
) -> None:
    drift = running.get("drift")
    if drift and (drift["added"] or drift["gone"]):
        allowed = "" if max_drift is None else f", at most {max_drift} allowed"
        typer.echo(f"  {drifted(drift)}{allowed}", err=True)
    if detach:
        _show(running if "status" in running else plan, as_json=as_json)
        return
    finish(client, running if "status" in running else plan, as_json=as_json)


def finish(client: Client, operation: Operation, *, as_json: bool) -> None:
    """Follow an operation to its end and tell what became of it.

    Raises:
        Failed: it was stopped or failed, or changed no job at all.
    """
    try:
        with _bar(operation) as progress:
            ended = _followed(client, operation, progress)
    except KeyboardInterrupt:
        typer.echo(f"It goes on; follow it: jobplane bulk watch {operation['id']}", err=True)
        raise
    _show(ended, as_json=as_json)
    if ended["status"] != "done" or (ended.get("total") and not ended["done"]):
        total = ended.get("total") or 0
        changed = f"{ended['done']} of {output.jobs(total)} {'was' if total == 1 else 'were'} changed"
        message = f"The operation is {ended['status']}: {changed}."
        raise Failed(message)


def control(common: Common, operation_id: str, verb: str, reason: str | None) -> None:
    """Pause, resume or stop it."""
    with common.client() as client:
        answer = client.post(f"/operations/{part(operation_id)}/{verb}", given({"reason": reason}))
    _show(answer, as_json=common.as_json)


def look(client: Client, operation_id: str) -> Operation:
    """The operation as it is now."""
    found: Operation = client.get(f"/operations/{part(operation_id)}")
    return found


def table(operations: Iterable[Operation]) -> None:
    """Operations, a line for each."""
    headers = ["OPERATION", "ACTION", "STATUS", "DONE", "SKIP", "BY", "AGE", "SKIPPED FOR, REASON"]
    output.table(headers, map(_row, operations))


def _row(operation: Operation) -> list[str]:
    total = operation.get("total")
    undo = f"undo of {operation['undo_of']}" if operation.get("undo_of") else None
    return [
        operation["id"],
        operation["action"],
        operation["status"],
        str(operation["done"]) if total is None else f"{operation['done']}/{total}",
        str(operation["skipped"]),
        operation.get("actor_name") or operation["actor"]["id"],
        output.age(operation["requested_at"]),
        ", ".join(filter(None, (output.counts(operation.get("codes")), undo, operation.get("reason")))),
    ]


def _planned(client: Client, operation: Operation) -> Operation:
    """The operation as soon as its jobs are settled.

    Raises:
        Failed: it could not be planned.
    """
    for shown in _looks(client, operation):
        if shown["status"] in ENDED:
            message = f"It could not be planned: {shown.get('detail') or shown.get('code') or shown['status']}"
            raise Failed(message)
        if shown["status"] != "planning":
            return shown
    raise AssertionError


def _followed(client: Client, operation: Operation, progress: Progress) -> Operation:
    for shown in _looks(client, operation):
        progress(shown)
        if shown["status"] in ENDED:
            return shown
    raise AssertionError


def _looks(client: Client, operation: Operation) -> Iterator[Operation]:
    """The operation again and again, at first often."""
    pause_s = _FIRST_LOOK_S
    yield operation
    while True:
        time.sleep(pause_s)
        pause_s = min(_LAST_LOOK_S, pause_s * 1.5)
        yield look(client, operation["id"])


@contextmanager
def _bar(operation: Operation) -> Iterator[Progress]:
    """A bar on standard error, if that is a terminal."""
    from rich.console import Console  # noqa: PLC0415 - only who follows pays for it
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - as above
    from rich.progress import Progress as Bars  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task(operation["action"], total=operation.get("total"))

        def progress(operation: Operation) -> None:
            name = f"{operation['action']} ({operation['status']})"
            seen = operation["done"] + operation["skipped"]
            bars.update(task, completed=seen, total=operation.get("total"), description=name)

        yield progress


def _show(operation: Operation, *, as_json: bool) -> None:
    if as_json:
        output.as_json(operation)
    elif "status" not in operation:  # 202: the deadline passed first
        typer.echo(f"accepted as command {operation['command_id']}")
    else:
        table([operation])


def told_breakdown(plan: Operation) -> dict[str, dict[str, int]]:
    """What its jobs are: of each property how many have which value, errors by their names."""
    breakdown = dict(plan.get("breakdown") or {})
    types = breakdown.pop("error_types", {})
    groups = breakdown.get("error", {}).items()
    named = {f"{types[group]} ({group})" if group in types else group: count for group, count in groups}
    return breakdown | {"error": named} if named else breakdown


def _explain(plan: Operation) -> None:
    """What a plan is about, on standard error: the answer comes later."""
    typer.echo(f"{plan['action']}: {output.jobs(plan['total'])}", err=True)
    for name, counts in told_breakdown(plan).items():
        if counts:
            typer.echo(f"  by {name}: {output.counts(counts)}", err=True)
    if plan.get("skipping"):
        typer.echo(f"  will be skipped: {output.counts(plan['skipping'])}", err=True)
