"""`jobplane dlq`: what could not be processed; list, show, replay, discard."""

from typing import Annotated, Any

import typer

from jobplane.cli import asking, output, target
from jobplane.cli.asking import YesOption
from jobplane.cli.client import Client
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.job_control import ReasonOption, given
from jobplane.cli.target import DEFAULT_DATA, DataOption, JsonOption, UrlOption, UsernameOption

app = typer.Typer(help="Dead letters: list, show, replay and discard them.", no_args_is_help=True)

NumberArgument = Annotated[int, typer.Argument(metavar="N", min=1, help="Its number, as listed.")]
NumbersArgument = Annotated[
    list[int] | None, typer.Argument(metavar="N", min=1, help="Numbers, as listed.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="All that --service, --what and --since leave.")]
ServiceOption = Annotated[str | None, typer.Option("--service", help="Who could not process it, e.g. jobs.")]
WhatOption = Annotated[str | None, typer.Option("--what", help="`command`, or a stream.")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="INSTANT", help="Not older, ISO 8601.")]


@app.command("list")
def list_(
    service: ServiceOption = None,
    what: WhatOption = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Dead letters on the page.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Next page, as the one before named it.")] = None,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """List dead letters, newest first."""
    with Client(target.find(data, url, username)) as client:
        page = client.get("/dlq", service=service, what=what, since=since, limit=limit, cursor=cursor)
    if json_:
        output.as_json(page)
        return
    if not page["items"]:
        typer.echo("No dead letters.")
    else:
        output.table(["N", "AGE", "SERVICE", "WHAT", "REPLAYABLE", "WHERE", "REASON"], map(_row, page["items"]))
    if page.get("next_cursor"):
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(
    number: NumberArgument,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Show one dead letter with what it says, which may be secret."""
    with Client(target.find(data, url, username)) as client:
        letter = client.get(f"/dlq/{number}")
    if json_:
        output.as_json(letter)
        return
    text = letter.pop("text")
    letter.pop("content", None)
    output.fields(letter)
    typer.echo(f"\n{text}")


@app.command()
def replay(
    numbers: NumbersArgument = None,
    all_: AllOption = False,
    service: ServiceOption = None,
    what: WhatOption = None,
    since: SinceOption = None,
    reason: ReasonOption = None,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Have commands decided and events read now; what is dealt with leaves the queue, what cannot be stays.

    Examples:

        jobplane dlq replay 17 18 --reason "upgraded"

        jobplane dlq replay --all --service audit
    """
    which = {"service": service, "what": what, "since": since}
    with Client(target.find(data, url, username)) as client:
        letters = _chosen(client, numbers, which, all_=all_, replayable=True)
        asking.agree(f"replay {_many(letters)}", len(letters), yes=yes)
        _each(client, "replay", letters, reason, as_json=json_)


@app.command()
def discard(
    numbers: NumbersArgument = None,
    all_: AllOption = False,
    service: ServiceOption = None,
    what: WhatOption = None,
    since: SinceOption = None,
    reason: ReasonOption = None,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Delete dead letters for good; always asks, because nothing brings them back."""
    which = {"service": service, "what": what, "since": since}
    with Client(target.find(data, url, username)) as client:
        letters = _chosen(client, numbers, which, all_=all_, replayable=False)
        asking.agree(f"delete {_many(letters)} for good", len(letters), yes=yes, ask_above=0)
        _each(client, "discard", letters, reason, as_json=json_)


def _chosen(
    client: Client, numbers: list[int] | None, which: dict[str, str | None], *, all_: bool, replayable: bool
) -> list[int]:
    """The numbers that were typed, or all that are there now, the oldest first: as they came, so they are replayed."""
    if bool(numbers) == all_ or (numbers and any(which.values())):
        message = "Say which dead letters: their numbers, or --all, perhaps with --service, --what or --since."
        raise Failed(message, Exit.USAGE)
    if numbers:
        return numbers
    found = [letter for page in client.pages("/dlq", limit=200, **which) for letter in page]
    chosen = [letter["seq"] for letter in reversed(found) if letter["replayable"] or not replayable]
    if len(chosen) < len(found):
        typer.echo(f"jobplane: {len(found) - len(chosen)} of {_many(found)} cannot be replayed.", err=True)
    return chosen


def _many(letters: list[Any]) -> str:
    return "a dead letter" if len(letters) == 1 else f"{len(letters)} dead letters"


def _each(client: Client, verb: str, numbers: list[int], reason: str | None, *, as_json: bool) -> None:
    """All are tried; the exit code tells whether all went well."""
    answers: list[dict[str, Any]] = []
    refused: list[Failed] = []
    for number in numbers:
        try:
            answers.append(client.post(f"/dlq/{number}/{verb}", given({"reason": reason})))
        except Failed as error:
            if error.code == Exit.UNREACHABLE:
                raise
            refused.append(error)
            typer.echo(f"jobplane: {number}: {error}", err=True)
    if as_json:
        output.as_json(answers)
    elif answers:
        output.table(["N", "OUTCOME", "JOB", "DETAIL"], [_outcome(verb, answer) for answer in answers])
    elif not refused:
        typer.echo(f"No dead letters to {verb}.")
    if refused:
        raise typer.Exit(refused[0].code)
    if any(answer.get("status") == "refused" for answer in answers):
        raise typer.Exit(Exit.REFUSED)


def _row(letter: dict[str, Any]) -> list[str]:
    seen = [str(letter["seq"]), output.age(letter["at"]), letter["service"], letter["what"]]
    where = letter.get("subject") or (f"position {letter['position']}" if letter.get("position") else "")
    return [*seen, "yes" if letter["replayable"] else "no", where, letter["reason"]]


def _outcome(verb: str, answer: dict[str, Any]) -> list[str]:
    outcome = answer.get("status") or f"{verb}ed"
    return [str(answer["seq"]), outcome, answer.get("job_id") or "", answer.get("detail") or ""]
