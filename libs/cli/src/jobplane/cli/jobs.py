"""`jobplane jobs`: find, understand and steer jobs."""

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from jobplane.cli import output, target
from jobplane.cli.client import Client
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.target import DEFAULT_DATA, DataOption, JsonOption, UrlOption, UsernameOption

app = typer.Typer(help="List, show, retry, cancel and force-run jobs.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.", show_default=False)]
IdsArgument = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of jobs.", show_default=False)]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it stays in the history and the audit log.")]


@app.command("list")
def list_(
    status: Annotated[
        str | None, typer.Option("--status", help="PENDING, RUNNING, COMPLETED, FAILED or CANCELLED.")
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Only of this queue.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only of this kind.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Jobs on the page.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Next page, as the one before named it.")] = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """List jobs, newest first.

    Examples:

        jobplane jobs list --status FAILED

        jobplane jobs list --kind image.thumbnail --json
    """
    with Client(target.find(data, url, username)) as client:
        page = client.get(
            "/jobs", status=status.upper() if status else None, queue=queue, kind=kind, limit=limit, cursor=cursor
        )
    if json_:
        output.as_json(page)
        return
    if not page["items"]:
        typer.echo("No jobs. Create one: jobplane enqueue image.thumbnail photo.jpg")
        return
    output.table(
        ["JOB", "KIND", "QUEUE", "STATUS", "ATTEMPT", "CREATED", "ERROR"], [_row(job) for job in page["items"]]
    )
    if page["next_cursor"]:
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(
    job_id: IdArgument,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Show everything about one job, and its history.

    Example:

        jobplane jobs show 019a5c3e-…
    """
    with Client(target.find(data, url, username)) as client:
        job = client.get(f"/jobs/{job_id}")
        history = client.get(f"/jobs/{job_id}/history")
    if json_:
        output.as_json({"job": job, "history": history["items"]})
        return
    error = job.pop("error", None)
    output.table(
        ["FIELD", "VALUE"], [[name, _plain(value)] for name, value in job.items() if value not in (None, [], {})]
    )
    if error:
        typer.echo(f"\n{error['type']}: {error['message']}")
        if error.get("stack"):
            typer.echo(error["stack"])
    typer.echo("")
    output.table(
        ["AT", "EVENT", "ACTOR", "BEFORE", "AFTER", "REASON"],
        [
            [item["at"], item["type"], item["actor"]["id"], item["before"] or "", item["after"], item["reason"] or ""]
            for item in history["items"]
        ],
    )


@app.command()
def retry(
    job_ids: IdsArgument,
    reason: ReasonOption = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Retry FAILED jobs: their attempts begin again.

    Example:

        jobplane jobs retry 019a5c3e-… --reason "the disk is back"
    """
    _steer("retry", job_ids, reason, lambda: target.find(data, url, username), as_json=json_)


@app.command()
def cancel(
    job_ids: IdsArgument,
    reason: ReasonOption = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Cancel PENDING or RUNNING jobs; a running one is told to stop.

    Example:

        jobplane jobs cancel 019a5c3e-…
    """
    _steer("cancel", job_ids, reason, lambda: target.find(data, url, username), as_json=json_)


@app.command()
def run(
    job_ids: IdsArgument,
    reason: ReasonOption = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Run PENDING jobs now: before all priorities, even in a paused queue.

    Example:

        jobplane jobs run 019a5c3e-…
    """
    _steer("run", job_ids, reason, lambda: target.find(data, url, username), as_json=json_)


def _steer(
    verb: str, job_ids: list[str], reason: str | None, where: Callable[[], target.Target], *, as_json: bool
) -> None:
    """One command per job; all are tried, and the exit code tells whether all were accepted."""
    answers: list[dict[str, Any]] = []
    refused: list[Failed] = []
    with Client(where()) as client:
        for job_id in job_ids:
            try:
                answers.append(client.post(f"/jobs/{job_id}/{verb}", {"reason": reason} if reason else {}))
            except Failed as error:
                if error.code == Exit.UNREACHABLE:
                    raise
                refused.append(error)
                typer.echo(f"jobplane: {job_id}: {error}", err=True)
    if as_json:
        output.as_json(answers)
    elif answers:
        output.table(["JOB", "KIND", "STATUS", "VERSION"], [_outcome(answer) for answer in answers])
    if refused:
        raise typer.Exit(refused[0].code)


def _outcome(answer: dict[str, Any]) -> list[str]:
    job = answer.get("job")
    if job is None:  # 202: the deadline passed first
        return [f"accepted as command {answer['command_id']}", "", "", ""]
    return [job["id"], job["kind"], job["status"], str(job["version"])]


def _row(job: dict[str, Any]) -> list[str]:
    error = job.get("error") or {}
    text = f"{error['type']}: {error.get('message', '')}"[:60] if error else ""
    attempt = f"{job['attempt']}/{job['max_attempts']}"
    return [job["id"], job["kind"], job["queue"], job["status"], attempt, output.age(job["created_at"]), text]


def _plain(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
