"""`jobplane jobs`: find, understand and follow jobs; what is done to them is in `job_control`."""

from collections.abc import Iterator
from operator import itemgetter
from typing import Annotated, Any

import typer

from jobplane.cli import job_control, output, watching
from jobplane.cli.client import Client, part
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.options import Commands
from jobplane.cli.target import Common

app = Commands(help="Find, show, follow and steer jobs.", no_args_is_help=True)

QueryArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="QUERY", help="E.g. 'status:failed kind:image.* older:2h'; see docs/search.md."),
]


@app.command("list")
def list_(
    common: Common,
    query: QueryArgument = None,
    status: Annotated[
        str | None, typer.Option("--status", help="PENDING, RUNNING, COMPLETED, FAILED or CANCELLED.")
    ] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Only of this queue.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only of this kind.")] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", help="created, started, finished, run_at or priority; '-' before it: latest first."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Jobs on the page.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Next page, as the one before named it.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every page; with --json one job a line.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Only how many there are.")] = False,
) -> None:
    """List jobs, newest first. A query that begins with a minus stands behind `--`.

    Examples:

        jobplane jobs list 'status:failed kind:image.* older:2h'

        jobplane jobs list payload.user:42 'error:"timed out"' --json

        jobplane jobs list --all --json status:failed | jq -r .id
    """
    wanted = {"q": " ".join(query or []) or None, "status": status.upper() if status else None}
    wanted |= {"queue": queue, "kind": kind}
    with common.client() as client:
        if count:
            _count(client.get("/stats/jobs", **wanted), as_json=common.as_json)
        elif all_:
            _every(client.pages("/jobs", **wanted, sort=sort, limit=200, cursor=cursor), as_json=common.as_json)
        else:
            page = client.get("/jobs", **wanted, sort=sort, limit=limit, cursor=cursor)
            _one_page(page, searched=any(wanted.values()), as_json=common.as_json)


@app.command()
def show(
    common: Common,
    job_id: job_control.IdArgument,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="WHEN", help="As it was: at an instant (ISO 8601 with zone) or a position."),
    ] = None,
) -> None:
    """Show everything about one job, its runs and its history.

    Examples:

        jobplane jobs show 019a5c3e-…

        jobplane jobs show 019a5c3e-… --as-of 2026-11-22T12:00:00Z
    """
    with common.client() as client:
        job = client.get(f"/jobs/{part(job_id)}", as_of=as_of)
        history: list[dict[str, Any]] = []
        attempts: list[dict[str, Any]] = []
        if as_of is None:
            history = _whole(client, f"/jobs/{part(job_id)}/history")
            attempts = _whole(client, f"/jobs/{part(job_id)}/attempts")
    if common.as_json:
        output.as_json({"job": job} | ({"history": history, "attempts": attempts} if as_of is None else {}))
        return
    error = job.pop("error", None)
    output.fields(job)
    if error:
        typer.echo(f"\n{error['type']}: {error['message']}")
        if error.get("stack"):
            typer.echo(error["stack"])
    if attempts:
        typer.echo("")
        headers = ["RUN", "TRY", "WORKER", "STARTED", "ENDED", "OUTCOME", "ERROR"]
        output.table(headers, map(_attempt, attempts), whole=True)
    if history:
        typer.echo("")
        output.table(["AT", "EVENT", "ACTOR", "BEFORE", "AFTER", "CHANGED, REASON"], map(_event, history), whole=True)


@app.command()
def watch(
    common: Common,
    job_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids of jobs; every job if none is named.")
    ] = None,
) -> None:
    """Follow what happens, a line for each event; with ids until these jobs are finished.

    With ids the exit code tells whether all of them were completed. With --json each line is one event.

    Examples:

        jobplane jobs watch

        jobplane jobs watch 019a5c3e-… && echo completed
    """
    with common.client() as client:
        try:
            completed = watching.follow(client, job_ids or [], output.as_json_line if common.as_json else _tell)
        except KeyboardInterrupt:
            return
    if not completed:
        message = "Not all of these jobs were completed."
        raise Failed(message, Exit.REFUSED)


job_control.register(app)


def _every(pages: Iterator[list[dict[str, Any]]], *, as_json: bool) -> None:
    for jobs in pages:
        if as_json:
            for job in jobs:
                output.as_json_line(job)
        elif jobs:
            _table(jobs)


def _one_page(page: dict[str, Any], *, searched: bool, as_json: bool) -> None:
    if as_json:
        output.as_json(page)
        return
    if not page["items"]:
        nothing = "No such jobs." if searched else "No jobs. Create one: jobplane enqueue image.thumbnail photo.jpg"
        typer.echo(nothing)
        return
    _table(page["items"])
    if page["next_cursor"]:
        typer.echo(f"more: --cursor {page['next_cursor']}")


def _count(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.as_json(found)
        return
    if found["relation"] == "estimate":
        typer.echo(f"about {found['count']} (more than {found['at_least']})")
    else:
        typer.echo(str(found["count"]))


def _whole(client: Client, path: str) -> list[dict[str, Any]]:
    """Every page of a list that belongs to one job."""
    return [item for page in client.pages(path, limit=500) for item in page]


def _table(jobs: list[dict[str, Any]]) -> None:
    output.table(["JOB", "KIND", "QUEUE", "STATUS", "TRY", "AGE", "ERROR"], [_row(job) for job in jobs])


def _row(job: dict[str, Any]) -> list[str]:
    attempt = f"{job['attempt']}/{job['max_attempts']}"
    created = output.age(job["created_at"])
    return [job["id"], job["kind"], job["queue"], job["status"], attempt, created, _error(job.get("error"))]


def _attempt(run: dict[str, Any]) -> list[str]:
    outcome = f"{run['outcome']} ({run['stop']})" if run.get("stop") else run["outcome"]
    times = [output.moment(run["started_at"]), output.moment(run.get("ended_at"))]
    return [str(run["run"]), str(run["attempt"]), run["worker"], *times, outcome, _error(run.get("error"))]


def _event(item: dict[str, Any]) -> list[str]:
    reason = f"“{item['reason']}”" if item["reason"] else None
    who, what = item.get("actor_name") or item["actor"]["id"], " ".join(filter(None, (_changed(item), reason)))
    return [output.moment(item["at"]), item["type"], who, item["before"] or "", item["after"], what]


def _changed(item: dict[str, Any]) -> str:
    """The fields that it made otherwise, of an edit also how; of a creation that would be all of them."""
    if item["before"] is None:
        return ""
    tell = _change if item["type"].startswith("job.edited.") else itemgetter("field")
    return ", ".join(map(tell, item.get("changes", [])))


def _change(change: dict[str, Any]) -> str:
    """What an edit made of a field; of a payload only that it is another one."""
    if change["field"] == "payload":
        return "payload"
    before, after = (output.plain(change.get(side)) or "·" for side in ("before", "after"))
    return f"{change['field']} {before} → {after}"


def _error(error: dict[str, Any] | None) -> str:
    return f"{error['type']}: {error.get('message', '')}" if error else ""


def _tell(event: dict[str, Any]) -> None:
    """One event as a line."""
    facts = event.get("data") or {}
    change = f"{facts.get('before') or '·'} → {facts['after']}" if facts.get("after") else ""
    reason = f"“{event['reason']}”" if event.get("reason") else ""
    line = f"{event['at'][11:19]} {event['subject']} {event['type'].rsplit('.', 1)[0]:<16} {change} {reason}"
    typer.echo(line.rstrip())
