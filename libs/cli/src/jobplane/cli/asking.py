"""Asking before much is changed: above a threshold a person confirms, a script says `--yes`."""

import sys
from typing import Annotated, Final

import typer

from jobplane.cli.failures import Exit, Failed

ASK_ABOVE: Final = 10
"""So many jobs are changed without asking."""

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, whatever it is.")]


def agree(what: str, count: int, *, yes: bool, ask_above: int = ASK_ABOVE) -> None:
    """Go on only if it is wanted; `what` follows "This will …".

    Raises:
        Failed: it is not wanted, or nobody is there to say so.
    """
    if yes or count <= ask_above:
        return
    if not sys.stdin.isatty():
        message = f"This will {what}: nobody is here to ask, so say --yes if that is wanted. Nothing was done."
        raise Failed(message, Exit.USAGE)
    if not typer.confirm(f"This will {what}. Go on?", err=True):
        message = "Nothing was done."
        raise Failed(message)
