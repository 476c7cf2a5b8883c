"""What `jobplane jobs` does to jobs: retry, cancel, run, restore, edit, clone; and reveal, which leaves a trace."""

from typing import Annotated, Any

import typer

from jobplane.cli import asking, output
from jobplane.cli.asking import YesOption
from jobplane.cli.client import part
from jobplane.cli.enqueue import payload_of
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.options import Commands
from jobplane.cli.target import Common

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the job.", show_default=False)]
IdsArgument = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of jobs.", show_default=False)]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it stays in the history and the audit log.")]
PayloadOption = Annotated[
    str | None, typer.Option("--payload", metavar="JSON", help="JSON object for the worker, or @FILE; replaces it.")
]
QueueOption = Annotated[str | None, typer.Option("--queue", help="Where workers look for it.")]
PriorityOption = Annotated[int | None, typer.Option("--priority", help="Higher runs first.")]
RunAtOption = Annotated[str | None, typer.Option("--run-at", metavar="INSTANT", help="Not before, ISO 8601 with zone.")]
MaxAttemptsOption = Annotated[
    int | None, typer.Option("--max-attempts", min=1, help="Attempts before it is FAILED, those it took included.")
]


def register(app: Commands) -> None:
    """Add these commands to `jobplane jobs`."""
    for command in (retry, cancel, run, restore, edit, clone, reveal):
        app.command()(command)


def retry(common: Common, job_ids: IdsArgument, reason: ReasonOption = None, yes: YesOption = False) -> None:
    """Retry FAILED jobs: their attempts begin again.

    Example:

        jobplane jobs retry 019a5c3e-… --reason "the disk is back"
    """
    _steer(common, "retry", job_ids, reason, yes=yes)


def cancel(common: Common, job_ids: IdsArgument, reason: ReasonOption = None, yes: YesOption = False) -> None:
    """Cancel PENDING or RUNNING jobs; a running one is told to stop.

    Example:

        jobplane jobs cancel 019a5c3e-…
    """
    _steer(common, "cancel", job_ids, reason, yes=yes)


def run(common: Common, job_ids: IdsArgument, reason: ReasonOption = None, yes: YesOption = False) -> None:
    """Run PENDING jobs now: before all priorities, even in a paused queue.

    Example:

        jobplane jobs run 019a5c3e-…
    """
    _steer(common, "run", job_ids, reason, yes=yes)


def restore(common: Common, job_ids: IdsArgument, reason: ReasonOption = None, yes: YesOption = False) -> None:
    """Take the cancel of jobs back: they are PENDING again.

    Example:

        jobplane jobs restore 019a5c3e-… --reason "it was the wrong one"
    """
    _steer(common, "restore", job_ids, reason, yes=yes)


def edit(
    common: Common,
    job_id: IdArgument,
    payload: PayloadOption = None,
    queue: QueueOption = None,
    priority: PriorityOption = None,
    run_at: RunAtOption = None,
    max_attempts: MaxAttemptsOption = None,
    if_version: Annotated[
        int | None, typer.Option("--if-version", min=1, help="Only if nobody changed it since this version.")
    ] = None,
    reason: ReasonOption = None,
) -> None:
    """Change a PENDING or FAILED job; history keeps what was before.

    Examples:

        jobplane jobs edit 019a5c3e-… --priority 10 --queue images

        jobplane jobs edit 019a5c3e-… --payload '{"side": 640}' --reason "the size was wrong"
    """
    changes = {
        "payload": payload_of(payload) if payload is not None else None,
        "queue": queue,
        "priority": priority,
        "run_at": run_at,
        "max_attempts": max_attempts,
    }
    body = given(changes)
    if not body:
        message = "Say what to change: --payload, --queue, --priority, --run-at or --max-attempts."
        raise Failed(message, Exit.USAGE)
    more: dict[str, object] = {"headers": {"If-Match": f'"{if_version}"'}} if if_version is not None else {}
    with common.client() as client:
        answer = client.patch(f"/jobs/{part(job_id)}", body | given({"reason": reason}), **more)
    if common.as_json:
        output.as_json(answer)
    else:
        _show([answer])


def clone(
    common: Common,
    job_id: IdArgument,
    payload: PayloadOption = None,
    queue: QueueOption = None,
    priority: PriorityOption = None,
    run_at: RunAtOption = None,
    max_attempts: MaxAttemptsOption = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Instead of its tags; may be repeated.")] = None,
    reason: ReasonOption = None,
) -> None:
    """Create a job like this one, with whatever should be otherwise.

    Example:

        jobplane jobs clone 019a5c3e-… --payload '{"side": 640}'
    """
    wishes = {
        "payload": payload_of(payload) if payload is not None else None,
        "queue": queue,
        "priority": priority,
        "run_at": run_at,
        "max_attempts": max_attempts,
        "tags": tag or None,
        "reason": reason,
    }
    with common.client() as client:
        job = client.post(f"/jobs/{part(job_id)}/clone", given(wishes))
    if common.as_json:
        output.as_json(job)
    else:
        _show([{"job": job} if "id" in job else job])


def reveal(
    common: Common,
    job_id: IdArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the audit log.")],
) -> None:
    """Show payload, result and error with their secrets; the audit log keeps who saw them and why.

    Example:

        jobplane jobs reveal 019a5c3e-… --reason "the customer says that the key is wrong"
    """
    with common.client() as client:
        job = client.post(f"/jobs/{part(job_id)}/reveal", {"reason": reason})
    output.as_json(job if common.as_json else {name: job.get(name) for name in ("payload", "result", "error")})


def given(values: dict[str, Any]) -> dict[str, Any]:
    """Without what was not said."""
    return {name: value for name, value in values.items() if value is not None}


def _steer(common: Common, verb: str, job_ids: list[str], reason: str | None, *, yes: bool) -> None:
    """One command per job; all are tried, and the exit code tells whether all were accepted."""
    asking.agree(f"{verb} {len(job_ids)} jobs", len(job_ids), yes=yes)
    answers: list[dict[str, Any]] = []
    refused: list[Failed] = []
    with common.client() as client:
        for job_id in job_ids:
            try:
                answers.append(client.post(f"/jobs/{part(job_id)}/{verb}", given({"reason": reason})))
            except Failed as error:
                if error.code == Exit.UNREACHABLE:
                    raise
                refused.append(error)
                typer.echo(f"jobplane: {job_id}: {error}", err=True)
    if common.as_json:
        output.as_json(answers)
    elif answers:
        _show(answers)
    if refused:
        raise typer.Exit(refused[0].code)


def _show(answers: list[dict[str, Any]]) -> None:
    output.table(["JOB", "KIND", "STATUS", "VERSION"], [_outcome(answer) for answer in answers])


def _outcome(answer: dict[str, Any]) -> list[str]:
    job = answer.get("job")
    if job is None:  # 202: the deadline passed first
        return [f"accepted as command {answer['command_id']}", "", "", ""]
    return [job["id"], job["kind"], job["status"], str(job["version"])]
