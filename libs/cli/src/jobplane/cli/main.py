"""The `jobplane` command: one module per group of commands, put together here."""

import typer

app = typer.Typer(name="jobplane", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def main() -> None:
    """Run the command."""
    app()
