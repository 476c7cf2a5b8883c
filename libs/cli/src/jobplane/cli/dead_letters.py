"""`jobplane dlq`: what could not be processed; list, show, replay, discard."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from jobplane.cli import asking, output
from jobplane.cli.asking import YesOption
from jobplane.cli.client import Client
from jobplane.cli.failures import Exit, Failed
from jobplane.cli.job_control import ReasonOption, given
from jobplane.cli.options import Commands
from jobplane.cli.target import Common

app = Commands(help="Dead letters: list, show, replay and discard them.", no_args_is_help=True)

NumberArgument = Annotated[int, typer.Argument(metavar="N", min=1, help="Its number, as listed.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What narrows a list of dead letters."""

    service: Annotated[str | None, typer.Option("--service", help="Who could not process it, e.g. jobs.")] = None
    what: Annotated[str | None, typer.Option("--what", help="`command`, or a stream.")] = None
    since: Annotated[str | None, typer.Option("--since", metavar="INSTANT", help="Not older, ISO 8601.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which dead letters are meant, apart from a `Filter`."""

    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="N", min=1, help="Numbers, as listed.", show_default=False)
    ] = None
    every: Annotated[bool, typer.Option("--all", help="All that --service, --what and --since leave.")] = False


@app.command("list")
def list_(
    filter_: Filter,
    common: Common,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="Dead letters on the page.")] = 20,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Next page, as the one before named it.")] = None,
) -> None:
    """List dead letters, newest first."""
    with common.client() as client:
        page = client.get("/dlq", **asdict(filter_), limit=limit, cursor=cursor)
    if common.as_json:
        output.as_json(page)
        return
    if not page["items"]:
        typer.echo("No dead letters.")
    else:
        output.table(["N", "AGE", "SERVICE", "WHAT", "REPLAYABLE", "WHERE", "REASON"], map(_row, page["items"]))
    if page.get("next_cursor"):
        typer.echo(f"more: --cursor {page['next_cursor']}")


@app.command()
def show(common: Common, number: NumberArgument) -> None:
    """Show one dead letter with what it says, which may be secret."""
    with common.client() as client:
        letter = client.get(f"/dlq/{number}")
    if common.as_json:
        output.as_json(letter)
        return
    text = letter.pop("text")
    letter.pop("content", None)
    output.fields(letter)
    typer.echo(f"\n{text}")


@app.command()
def replay(which: Which, filter_: Filter, common: Common, reason: ReasonOption = None, yes: YesOption = False) -> None:
    """Have commands decided and events read now; what is dealt with leaves the queue, what cannot be stays.

    Examples:

        jobplane dlq replay 17 18 --reason "upgraded"

        jobplane dlq replay --all --service audit
    """
    with common.client() as client:
        letters = _chosen(client, which, filter_, replayable=True)
        asking.agree(f"replay {_many(letters)}", len(letters), yes=yes)
        _each(client, "replay", letters, reason, as_json=common.as_json)


@app.command()
def discard(which: Which, filter_: Filter, common: Common, reason: ReasonOption = None, yes: YesOption = False) -> None:
    """Delete dead letters for good; always asks, because nothing brings them back."""
    with common.client() as client:
        letters = _chosen(client, which, filter_, replayable=False)
        asking.agree(f"delete {_many(letters)} for good", len(letters), yes=yes, ask_above=0)
        _each(client, "discard", letters, reason, as_json=common.as_json)


def _chosen(client: Client, which: Which, filter_: Filter, *, replayable: bool) -> list[int]:
    """The numbers that were typed, or all that are there now, the oldest first: as they came, so they are replayed."""
    numbers, narrowed = which.numbers, any(asdict(filter_).values())
    if bool(numbers) == which.every or (numbers and narrowed):
        message = "Say which dead letters: their numbers, or --all, perhaps with --service, --what or --since."
        raise Failed(message, Exit.USAGE)
    if numbers:
        return numbers
    found = [letter for page in client.pages("/dlq", limit=200, **asdict(filter_)) for letter in page]
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
