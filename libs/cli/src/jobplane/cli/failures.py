"""How a command fails: one sentence on stderr and an exit code that scripts can rely on."""

from enum import IntEnum

from jobplane.contracts.errors import JobplaneError


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    REFUSED = 1
    """The platform said no, or the start failed."""
    USAGE = 2
    """The command line was wrong."""
    UNREACHABLE = 3
    """No platform answers, or it does not let us in."""
    NOT_FOUND = 4
    """The thing that was named does not exist."""


class Failed(JobplaneError):
    """The command could not do what was asked."""

    def __init__(self, sentence: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__(sentence)
        self.code = code
