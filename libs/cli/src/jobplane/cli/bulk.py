"""`jobplane bulk`: plan an operation on many jobs, look at it, run it, follow it, take it back."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jobplane.cli import operations, output, target
from jobplane.cli.asking import YesOption
from jobplane.cli.client import Client, part
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.job_control import ReasonOption, given
from jobplane.cli.operations import Terms
from jobplane.cli.target import DEFAULT_DATA, DataOption, JsonOption, UrlOption, UsernameOption

app = typer.Typer(help="Do something to many jobs: plan, run, follow, undo.", no_args_is_help=True)

QueryArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[QUERY…]", help="Which jobs, e.g. 'status:failed kind:image.*'.")
]
IdsFromOption = Annotated[
    Path | None, typer.Option("--ids-from", metavar="FILE", help="Instead: ids, one a line; - is standard input.")
]
RateOption = Annotated[float | None, typer.Option("--rate", min=0.1, help="At most so many jobs a second.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only plan; run it later with `bulk start ID`.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Start it and do not wait for its end.")]
MaxDriftOption = Annotated[
    int | None, typer.Option("--max-drift", min=0, help="Refuse if more jobs came or went since the plan.")
]
OperationArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the operation.")]


@app.command()
def retry(
    query: QueryArgument = None,
    ids_from: IdsFromOption = None,
    reason: ReasonOption = None,
    rate: RateOption = None,
    dry_run: DryRunOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Retry FAILED jobs.

    Example:

        jobplane bulk retry 'status:failed kind:image.*' --reason "the disk is back"
    """
    wish = _wish("retry", query, ids_from)
    terms = Terms(reason, rate, dry_run=dry_run, detach=detach, yes=yes, as_json=json_)
    operations.begin(target.find(data, url, username), "/jobs/bulk", wish, terms)


@app.command()
def cancel(
    query: QueryArgument = None,
    ids_from: IdsFromOption = None,
    reason: ReasonOption = None,
    rate: RateOption = None,
    dry_run: DryRunOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Cancel PENDING and RUNNING jobs."""
    wish = _wish("cancel", query, ids_from)
    terms = Terms(reason, rate, dry_run=dry_run, detach=detach, yes=yes, as_json=json_)
    operations.begin(target.find(data, url, username), "/jobs/bulk", wish, terms)


@app.command()
def run(
    query: QueryArgument = None,
    ids_from: IdsFromOption = None,
    reason: ReasonOption = None,
    rate: RateOption = None,
    dry_run: DryRunOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Run PENDING jobs now, before all priorities."""
    wish = _wish("run", query, ids_from)
    terms = Terms(reason, rate, dry_run=dry_run, detach=detach, yes=yes, as_json=json_)
    operations.begin(target.find(data, url, username), "/jobs/bulk", wish, terms)


@app.command()
def restore(
    query: QueryArgument = None,
    ids_from: IdsFromOption = None,
    reason: ReasonOption = None,
    rate: RateOption = None,
    dry_run: DryRunOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Take the cancel of jobs back."""
    wish = _wish("restore", query, ids_from)
    terms = Terms(reason, rate, dry_run=dry_run, detach=detach, yes=yes, as_json=json_)
    operations.begin(target.find(data, url, username), "/jobs/bulk", wish, terms)


@app.command()
def edit(
    query: QueryArgument = None,
    ids_from: IdsFromOption = None,
    queue: Annotated[str | None, typer.Option("--set-queue", help="Their new queue.")] = None,
    priority: Annotated[int | None, typer.Option("--set-priority", help="Their new priority.")] = None,
    run_at: Annotated[str | None, typer.Option("--set-run-at", metavar="INSTANT", help="Not before.")] = None,
    max_attempts: Annotated[int | None, typer.Option("--set-max-attempts", min=1, help="Attempts.")] = None,
    reason: ReasonOption = None,
    rate: RateOption = None,
    dry_run: DryRunOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Change PENDING and FAILED jobs.

    Example:

        jobplane bulk edit 'status:pending queue:mail' --set-queue slow-mail
    """
    changes = given({"queue": queue, "priority": priority, "run_at": run_at, "max_attempts": max_attempts})
    if not changes:
        message = "Say what to change: --set-queue, --set-priority, --set-run-at or --set-max-attempts."
        raise Failed(message, Exit.USAGE)
    wish = _wish("edit", query, ids_from) | {"edit": changes}
    terms = Terms(reason, rate, dry_run=dry_run, detach=detach, yes=yes, as_json=json_)
    operations.begin(target.find(data, url, username), "/jobs/bulk", wish, terms)


@app.command()
def undo(
    operation_id: OperationArgument,
    reason: ReasonOption = None,
    rate: RateOption = None,
    dry_run: DryRunOption = False,
    detach: DetachOption = False,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Take an operation back, as far as its jobs are still as it left them."""
    terms = Terms(reason, rate, dry_run=dry_run, detach=detach, yes=yes, as_json=json_)
    operations.begin(target.find(data, url, username), f"/operations/{part(operation_id)}/undo", {}, terms)


@app.command()
def start(
    operation_id: OperationArgument,
    max_drift: MaxDriftOption = None,
    reason: ReasonOption = None,
    detach: DetachOption = False,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Run what was planned with --dry-run."""
    terms = Terms(reason, None, max_drift=max_drift, detach=detach, yes=yes, as_json=json_)
    with Client(target.find(data, url, username)) as client:
        operations.run_plan(client, operations.look(client, operation_id), terms)


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option("--status", help="planned, running, paused, done, …")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Operations on the page.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Next page, as the one before named it.")] = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """List operations, newest first."""
    with Client(target.find(data, url, username)) as client:
        page = client.get("/operations", status=status, limit=limit, cursor=cursor)
    if json_:
        output.as_json(page)
        return
    operations.table(page["items"])
    if page.get("next_cursor"):
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(
    operation_id: OperationArgument,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Show one operation: its plan, how far it is, what became of its jobs, what could be undone."""
    with Client(target.find(data, url, username)) as client:
        found = operations.look(client, operation_id)
    if json_:
        output.as_json(found)
    else:
        output.fields(found)


@app.command()
def items(
    operation_id: OperationArgument,
    outcome: Annotated[str | None, typer.Option("--outcome", help="Only done, skipped, … ones.")] = None,
    code: Annotated[str | None, typer.Option("--code", help="Only those skipped for this reason.")] = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Show what became of each job; with --json one job a line."""
    path = f"/operations/{part(operation_id)}/items"
    with Client(target.find(data, url, username)) as client:
        for page in client.pages(path, outcome=outcome, code=code, limit=500):
            _items(page, as_json=json_)


@app.command()
def watch(
    operation_id: OperationArgument,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Follow an operation until it ends; the exit code tells whether it was done."""
    with Client(target.find(data, url, username)) as client:
        operations.finish(client, operations.look(client, operation_id), as_json=json_)


@app.command()
def pause(
    operation_id: OperationArgument,
    reason: ReasonOption = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Touch no further job until it is resumed."""
    operations.control(target.find(data, url, username), operation_id, "pause", reason, as_json=json_)


@app.command()
def resume(
    operation_id: OperationArgument,
    reason: ReasonOption = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Go on where it was paused."""
    operations.control(target.find(data, url, username), operation_id, "resume", reason, as_json=json_)


@app.command()
def stop(
    operation_id: OperationArgument,
    reason: ReasonOption = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Touch no further job; what is done stays done and can be undone."""
    operations.control(target.find(data, url, username), operation_id, "stop", reason, as_json=json_)


def _wish(action: str, query: list[str] | None, ids_from: Path | None) -> dict[str, Any]:
    """Which jobs, and what to do to each.

    Raises:
        Failed: no jobs are named, or in two ways.
    """
    if query and ids_from is not None:
        message = "Say which jobs in one way: a query or --ids-from, not both."
        raise Failed(message, Exit.USAGE)
    if not query and ids_from is None:
        message = "Say which jobs: a query, e.g. 'status:failed queue:mail', or --ids-from FILE."
        raise Failed(message, Exit.USAGE)
    if ids_from is None:
        return {"action": action, "filter": " ".join(query or [])}
    try:
        text = sys.stdin.read() if str(ids_from) == "-" else ids_from.read_text()
    except OSError as error:
        message = f"--ids-from {ids_from} cannot be read: {error.strerror}."
        raise Failed(message, Exit.USAGE) from error
    ids = text.split()
    if not ids:
        message = f"There are no ids in {ids_from}."
        raise Failed(message, Exit.USAGE)
    return {"action": action, "ids": ids}


def _items(page: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for item in page:
            output.as_json_line(item)
    elif page:
        names = list(dict.fromkeys(name for item in page for name in item))
        output.table(
            [name.upper() for name in names], [[output.plain(item.get(name)) for name in names] for item in page]
        )
