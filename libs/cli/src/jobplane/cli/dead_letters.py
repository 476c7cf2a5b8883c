"""`jobplane dlq`: what could not be processed; list, show, replay, discard."""

from typing import Annotated, Any

import typer

from jobplane.cli import asking, output, target
from jobplane.cli.asking import YesOption
from jobplane.cli.client import Client
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.job_control import ReasonOption, given
from jobplane.cli.target import DEFAULT_DATA, DataOption, JsonOption, Target, UrlOption, UsernameOption

app = typer.Typer(help="Dead letters: list, show, replay and discard them.", no_args_is_help=True)

NumberArgument = Annotated[int, typer.Argument(metavar="N", min=1, help="Its number, as listed.")]
NumbersArgument = Annotated[list[int], typer.Argument(metavar="N…", min=1, help="Numbers, as listed.")]


@app.command("list")
def list_(
    service: Annotated[str | None, typer.Option("--service", help="Who could not process it, e.g. jobs.")] = None,
    what: Annotated[str | None, typer.Option("--what", help="`command`, or a stream.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="INSTANT", help="Not older, ISO 8601.")] = None,
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
    numbers: NumbersArgument,
    reason: ReasonOption = None,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Have commands decided and events read now; what is dealt with leaves the queue, what cannot be stays."""
    asking.agree(f"replay {len(numbers)} dead letters", len(numbers), yes=yes)
    _each("replay", numbers, reason, target.find(data, url, username), as_json=json_)


@app.command()
def discard(
    numbers: NumbersArgument,
    reason: ReasonOption = None,
    yes: YesOption = False,
    data: DataOption = DEFAULT_DATA,
    url: UrlOption = None,
    username: UsernameOption = None,
    json_: JsonOption = False,
) -> None:
    """Delete dead letters for good; always asks, because nothing brings them back."""
    many = "a dead letter" if len(numbers) == 1 else f"{len(numbers)} dead letters"
    asking.agree(f"delete {many} for good", len(numbers), yes=yes, ask_above=0)
    _each("discard", numbers, reason, target.find(data, url, username), as_json=json_)


def _each(verb: str, numbers: list[int], reason: str | None, where: Target, *, as_json: bool) -> None:
    """All are tried; the exit code tells whether all went well."""
    answers: list[dict[str, Any]] = []
    refused: list[Failed] = []
    with Client(where) as client:
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
    if refused:
        raise typer.Exit(refused[0].code)
    if any(answer.get("status") == "refused" for answer in answers):
        raise typer.Exit(Exit.REFUSED)


def _row(letter: dict[str, Any]) -> list[str]:
    seen = [str(letter["seq"]), output.age(letter["at"]), letter["service"], letter["what"]]
    where = letter.get("subject") or (f"position {letter['position']}" if letter.get("position") else "")
    return [*seen, "yes" if letter["replayable"] else "no", where, letter["reason"][:80]]


def _outcome(verb: str, answer: dict[str, Any]) -> list[str]:
    outcome = answer.get("status") or f"{verb}ed"
    return [str(answer["seq"]), outcome, answer.get("job_id") or "", answer.get("detail") or ""]
