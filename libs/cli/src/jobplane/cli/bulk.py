"""`jobplane bulk`: plan an operation on many jobs, look at it, run it, follow it, take it back."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from jobplane.cli import operations, output
from jobplane.cli.client import part
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.job_control import ReasonOption, given
from jobplane.cli.operations import PlanTerms, Terms
from jobplane.cli.options import Commands
from jobplane.cli.target import Common

app = Commands(help="Do something to many jobs: plan, run, follow, undo.", no_args_is_help=True)

MaxDriftOption = Annotated[
    int | None, typer.Option("--max-drift", min=0, help="Refuse if more jobs came or went since the plan.")
]
OperationArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the operation.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which jobs an operation is about."""

    query: Annotated[
        list[str] | None, typer.Argument(metavar="QUERY", help="Which jobs, e.g. 'status:failed kind:image.*'.")
    ] = None
    ids_from: Annotated[
        Path | None, typer.Option("--ids-from", metavar="FILE", help="Instead: ids, one a line; - is standard input.")
    ] = None


@app.command()
def retry(which: Which, terms: PlanTerms, common: Common) -> None:
    """Retry FAILED jobs.

    Example:

        jobplane bulk retry 'status:failed kind:image.*' --reason "the disk is back"
    """
    operations.begin(common, "/jobs/bulk", _wish("retry", which), terms)


@app.command()
def cancel(which: Which, terms: PlanTerms, common: Common) -> None:
    """Cancel PENDING and RUNNING jobs."""
    operations.begin(common, "/jobs/bulk", _wish("cancel", which), terms)


@app.command()
def run(which: Which, terms: PlanTerms, common: Common) -> None:
    """Run PENDING jobs now, before all priorities."""
    operations.begin(common, "/jobs/bulk", _wish("run", which), terms)


@app.command()
def restore(which: Which, terms: PlanTerms, common: Common) -> None:
    """Take the cancel of jobs back."""
    operations.begin(common, "/jobs/bulk", _wish("restore", which), terms)


@app.command()
def edit(
    which: Which,
    terms: PlanTerms,
    common: Common,
    queue: Annotated[str | None, typer.Option("--set-queue", help="Their new queue.")] = None,
    priority: Annotated[int | None, typer.Option("--set-priority", help="Their new priority.")] = None,
    run_at: Annotated[str | None, typer.Option("--set-run-at", metavar="INSTANT", help="Not before.")] = None,
    max_attempts: Annotated[int | None, typer.Option("--set-max-attempts", min=1, help="Attempts.")] = None,
) -> None:
    """Change PENDING and FAILED jobs.

    Example:

        jobplane bulk edit 'status:pending queue:mail' --set-queue slow-mail
    """
    changes = given({"queue": queue, "priority": priority, "run_at": run_at, "max_attempts": max_attempts})
    if not changes:
        message = "Say what to change: --set-queue, --set-priority, --set-run-at or --set-max-attempts."
        raise Failed(message, Exit.USAGE)
    operations.begin(common, "/jobs/bulk", _wish("edit", which) | {"edit": changes}, terms)


@app.command()
def undo(terms: PlanTerms, common: Common, operation_id: OperationArgument) -> None:
    """Take an operation back, as far as its jobs are still as it left them."""
    operations.begin(common, f"/operations/{part(operation_id)}/undo", {}, terms)


@app.command()
def start(terms: Terms, common: Common, operation_id: OperationArgument, max_drift: MaxDriftOption = None) -> None:
    """Run what was planned with --dry-run."""
    operations.run_plan(common, operation_id, max_drift, terms)


@app.command("list")
def list_(
    common: Common,
    status: Annotated[str | None, typer.Option("--status", help="planned, running, paused, done, …")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Operations on the page.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Next page, as the one before named it.")] = None,
) -> None:
    """List operations, newest first."""
    with common.client() as client:
        page = client.get("/operations", status=status, limit=limit, cursor=cursor)
    if common.as_json:
        output.as_json(page)
        return
    operations.table(page["items"])
    if page.get("next_cursor"):
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(common: Common, operation_id: OperationArgument) -> None:
    """Show one operation: its plan, how far it is, what became of its jobs, what could be undone."""
    with common.client() as client:
        found = operations.look(client, operation_id)
    if common.as_json:
        output.as_json(found)
    else:
        output.fields(found | {"breakdown": operations.told_breakdown(found)})


@app.command()
def items(
    common: Common,
    operation_id: OperationArgument,
    outcome: Annotated[str | None, typer.Option("--outcome", help="Only done, skipped, … ones.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="Only those skipped for this reason.")] = None,
) -> None:
    """Show what became of each job; with --json one job a line."""
    path = f"/operations/{part(operation_id)}/items"
    with common.client() as client:
        for page in client.pages(path, outcome=outcome, code=code, limit=500):
            _items(page, as_json=common.as_json)


@app.command()
def watch(common: Common, operation_id: OperationArgument) -> None:
    """Follow an operation until it ends; the exit code tells whether it was done."""
    with common.client() as client:
        operations.finish(client, operations.look(client, operation_id), as_json=common.as_json)


@app.command()
def pause(common: Common, operation_id: OperationArgument, reason: ReasonOption = None) -> None:
    """Touch no further job until it is resumed."""
    operations.control(common, operation_id, "pause", reason)


@app.command()
def resume(common: Common, operation_id: OperationArgument, reason: ReasonOption = None) -> None:
    """Go on where it was paused."""
    operations.control(common, operation_id, "resume", reason)


@app.command()
def stop(common: Common, operation_id: OperationArgument, reason: ReasonOption = None) -> None:
    """Touch no further job; what is done stays done and can be undone."""
    operations.control(common, operation_id, "stop", reason)


def _wish(action: str, which: Which) -> dict[str, Any]:
    """Which jobs, and what to do to each.

    Raises:
        Failed: no jobs are named, or in two ways.
    """
    if which.query and which.ids_from is not None:
        message = "Say which jobs in one way: a query or --ids-from, not both."
        raise Failed(message, Exit.USAGE)
    if which.ids_from is not None:
        return {"action": action, "ids": _ids(which.ids_from)}
    if not " ".join(which.query or []).strip():
        message = "Say which jobs: a query, e.g. 'status:failed queue:mail', or --ids-from FILE."
        raise Failed(message, Exit.USAGE)
    return {"action": action, "filter": " ".join(which.query or [])}


def _ids(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except OSError as error:
        message = f"--ids-from {file} cannot be read: {error.strerror}."
        raise Failed(message, Exit.USAGE) from error
    ids = text.split()
    if not ids:
        message = f"There are no ids in {file}."
        raise Failed(message, Exit.USAGE)
    wrong = next((number for number, one in enumerate(ids) if not _is_id(one)), None)
    if wrong is not None:
        message = f"{ids[wrong]!r} in {file} is no id of a job, after {wrong} others: nothing was done."
        raise Failed(message, Exit.USAGE)
    return ids


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _items(page: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for item in page:
            output.as_json_line(item)
    elif page:
        names = list(dict.fromkeys(name for item in page for name in item))
        output.table(
            [name.upper() for name in names], [[output.plain(item.get(name)) for name in names] for item in page]
        )
