"""`jobplane errors`: which causes make jobs fail, and what to do about all jobs of one cause."""

from typing import Annotated, Any, Final

import typer

from jobplane.cli import operations, output
from jobplane.cli.client import part
from jobplane.cli.operations import PlanTerms
from jobplane.cli.options import Commands
from jobplane.cli.target import Common

app = Commands(help="Error groups: list and show them, retry or cancel their jobs.", no_args_is_help=True)

FingerprintArgument = Annotated[str, typer.Argument(metavar="FINGERPRINT", help="The group, as listed.")]
_BARS: Final = "▁▂▃▄▅▆▇█"


@app.command("list")
def list_(
    common: Common,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only in jobs of this kind.")] = None,
    queue: Annotated[list[str] | None, typer.Option("--queue", help="Only in jobs of this queue.")] = None,
    type_: Annotated[list[str] | None, typer.Option("--type", help="Only errors of this type.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="INSTANT", help="Only what failed since, ISO 8601 with zone.")
    ] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="last_seen, count or failed_now.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Groups on the page.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Next page, as the one before named it.")] = None,
) -> None:
    """List error groups, those that failed last first. The trend is of the last 24 hours.

    Example:

        jobplane errors list --sort failed_now
    """
    wanted = {"kind": kind or None, "queue": queue or None, "type": type_ or None, "since": since, "sort": sort}
    with common.client() as client:
        page = client.get("/errors", **wanted, limit=limit, cursor=cursor)
    if common.as_json:
        output.as_json(page)
        return
    if not page["items"]:
        typer.echo("No errors.")
        return
    output.table(["FINGERPRINT", "FAILED", "COUNT", "TREND", "LAST", "KINDS", "ERROR"], map(_row, page["items"]))
    if page.get("next_cursor"):
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(common: Common, fingerprint: FingerprintArgument) -> None:
    """Show one group: its latest failure with the stack, and the newest of its jobs."""
    with common.client() as client:
        group = client.get(f"/errors/{part(fingerprint)}")
    if common.as_json:
        output.as_json(group)
        return
    jobs, stack = group.pop("jobs"), group.pop("stack", None)
    output.fields(group | {"trend": trend(group["trend"])})
    if stack:
        typer.echo(f"\n{stack}")
    if jobs:
        typer.echo("")
        output.table(["JOB", "KIND", "QUEUE", "STATUS", "TRY", "WORKER"], map(_job, jobs))


@app.command()
def retry(terms: PlanTerms, common: Common, fingerprint: FingerprintArgument) -> None:
    """Retry all FAILED jobs of a group, as a bulk operation.

    Example:

        jobplane errors retry 9f86d081884c7d65 --reason "the disk is back"
    """
    _begin(common, fingerprint, {"action": "retry", "filter": f"fingerprint:{fingerprint} status:failed"}, terms)


@app.command()
def cancel(terms: PlanTerms, common: Common, fingerprint: FingerprintArgument) -> None:
    """Cancel all jobs of a group that wait for another attempt or run, as a bulk operation."""
    wish = {"action": "cancel", "filter": f"fingerprint:{fingerprint} status:pending,running"}
    _begin(common, fingerprint, wish, terms)


def _begin(common: Common, fingerprint: str, wish: dict[str, Any], terms: PlanTerms) -> None:
    """An operation on the jobs of a group that is there: a mistyped one is not a group without jobs."""
    with common.client() as client:
        client.get(f"/errors/{part(fingerprint)}")
    operations.begin(common, "/jobs/bulk", wish, terms)


def trend(counts: list[int]) -> str:
    """Numbers as bars, the largest full; nothing is a dot."""
    most = max(counts, default=0)
    return "".join(_BARS[(count * len(_BARS) - 1) // most] if count else "·" for count in counts)


def _row(group: dict[str, Any]) -> list[str]:
    error = f"{group['type']}: {group['message']}"
    kinds, numbers = ", ".join(group["kinds"]), [str(group["failed_now"]), str(group["count"])]
    return [group["fingerprint"], *numbers, trend(group["trend"]), output.age(group["last_at"]), kinds, error]


def _job(job: dict[str, Any]) -> list[str]:
    attempt = f"{job['attempt']}/{job['max_attempts']}"
    return [job["id"], job["kind"], job["queue"], job["status"], attempt, job.get("worker") or ""]
