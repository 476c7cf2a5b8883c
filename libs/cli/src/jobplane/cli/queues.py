"""`jobplane queues`: look at queues, pause, resume, drain and limit them; with `--kind`, a kind in all queues."""

from typing import Annotated, Any

import typer

from jobplane.cli import output
from jobplane.cli.client import part
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.job_control import ReasonOption, given
from jobplane.cli.options import Commands
from jobplane.cli.target import Common

app = Commands(help="List, pause, resume, drain and limit queues.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The queue, or with --kind the kind.")]
KindOption = Annotated[bool, typer.Option("--kind", help="NAME is a kind: its jobs in all queues.")]


@app.command("list")
def list_(common: Common) -> None:
    """List queues with depth, age and limits, and the kinds that are controlled."""
    with common.client() as client:
        found = client.get("/queues")
    if common.as_json:
        output.as_json(found)
        return
    if not found["queues"] and not found["kinds"]:
        typer.echo("No queues: a queue comes with its first job.")
        return
    output.table(
        ["QUEUE", "STATE", "PENDING", "DUE", "RUNNING", "OLDEST", "PER MIN", "WORKERS", "LIMITS", "REASON"],
        map(_queue, found["queues"]),
    )
    if found["kinds"]:
        typer.echo("")
        output.table(["KIND", "STATE", "RUNNING", "LIMITS", "REASON"], map(_kind, found["kinds"]))


@app.command()
def show(common: Common, name: NameArgument, kind: KindOption = False) -> None:
    """Show one queue: who paused or limited it, and why."""
    with common.client() as client:
        found = client.get(_path(name, kind=kind))
    if common.as_json:
        output.as_json(found)
    else:
        output.fields(found | _told_limits(found))


@app.command()
def pause(common: Common, name: NameArgument, kind: KindOption = False, reason: ReasonOption = None) -> None:
    """Start no more of its jobs, except forced ones; what runs goes on.

    Example:

        jobplane queues pause mail --reason "the mail server is down"
    """
    _control(common, "pause", name, reason, kind=kind)


@app.command()
def resume(common: Common, name: NameArgument, kind: KindOption = False, reason: ReasonOption = None) -> None:
    """Start its jobs again; its limits stay."""
    _control(common, "resume", name, reason, kind=kind)


@app.command()
def drain(common: Common, name: NameArgument, kind: KindOption = False, reason: ReasonOption = None) -> None:
    """Pause it and let it run empty: `draining` while jobs of it run, then `drained`."""
    _control(common, "drain", name, reason, kind=kind)


@app.command()
def limit(
    common: Common,
    name: NameArgument,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="At most so many of its jobs run at once.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option("--rate", metavar="STARTS/SECONDS", help="At most so many starts, e.g. 10/60.")
    ] = None,
    burst: Annotated[int, typer.Option("--burst", min=1, help="So many may start at once after a rest.")] = 1,
    none: Annotated[bool, typer.Option("--none", help="No limit any more.")] = False,
    kind: KindOption = False,
    reason: ReasonOption = None,
) -> None:
    """Set its limits, in the place of those before: what is not named is unlimited.

    Examples:

        jobplane queues limit mail --concurrency 5 --rate 10/60

        jobplane queues limit mail --none
    """
    if none == (concurrency is not None or rate is not None):
        message = "Say --concurrency or --rate or both, or --none for no limits."
        raise Failed(message, Exit.USAGE)
    body = {"concurrency": concurrency, "rate": rate_of(rate, burst)} | given({"reason": reason})
    with common.client() as client:
        _show(client.put(f"{_path(name, kind=kind)}/limits", body), as_json=common.as_json)


def rate_of(text: str | None, burst: int) -> dict[str, int] | None:
    """What `--rate` means: `10/60` are 10 starts in 60 seconds, `10` are 10 in one.

    Raises:
        Failed: it means nothing.
    """
    if text is None:
        return None
    starts, slash, seconds = text.partition("/")
    try:
        return {"starts": int(starts), "every_s": int(seconds) if slash else 1, "burst": burst}
    except ValueError as error:
        message = f"--rate is STARTS/SECONDS, e.g. 10/60, not {text!r}."
        raise Failed(message, Exit.USAGE) from error


def _control(common: Common, verb: str, name: str, reason: str | None, *, kind: bool) -> None:
    with common.client() as client:
        _show(client.post(f"{_path(name, kind=kind)}/{verb}", given({"reason": reason})), as_json=common.as_json)


def _path(name: str, *, kind: bool) -> str:
    return f"/{'kinds' if kind else 'queues'}/{part(name)}"


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.as_json(answer)
        return
    control = answer.get("queue")
    if control is None:  # 202: the deadline passed first
        typer.echo(f"accepted as command {answer['command_id']}")
        return
    output.table(["NAME", "STATE", "RUNNING", "LIMITS", "REASON"], [_kind(control)])
    if control.get("known") is False:
        nobody = (
            f"was ever in the queue {control['queue']}" if control.get("queue") else f"is of the kind {control['kind']}"
        )
        typer.echo(f"No job {nobody}: is its name right?", err=True)


def _queue(queue: dict[str, Any]) -> list[str]:
    due = f"{queue['due']}{'+' if queue.get('due_more') else ''}"
    running, oldest = str(queue["running"]), output.age(queue.get("oldest_at"))
    pace, workers = (queue.get("throughput") or {}).get("per_minute"), queue.get("workers")
    lately = ["?" if pace is None else f"{pace:g}", "?" if workers is None else str(workers)]
    waits = [queue["queue"], queue["state"], str(queue["pending"]), due, running, oldest]
    return [*waits, *lately, _limits(queue), _why(queue)]


def _kind(control: dict[str, Any]) -> list[str]:
    name = control.get("kind") or control["queue"]
    return [name, control["state"], str(control["running"]), _limits(control), _why(control)]


def _limits(control: dict[str, Any]) -> str:
    limits = control.get("limits") or {}
    rate = limits.get("rate")
    parts = [f"{limits['concurrency']} at once"] if limits.get("concurrency") else []
    if rate:
        parts.append(_rate(rate))
    return ", ".join(parts)


def _rate(rate: dict[str, Any]) -> str:
    burst = f" (burst {rate['burst']})" if rate.get("burst", 1) > 1 else ""
    return f"{rate['starts']} per {rate['every_s']} s{burst}"


def _told_limits(control: dict[str, Any]) -> dict[str, Any]:
    limits = control.get("limits") or {}
    return {"limits": limits | {"rate": _rate(limits["rate"])}} if limits.get("rate") else {}


def _why(control: dict[str, Any]) -> str:
    return (control.get("paused") or {}).get("reason") or ""
