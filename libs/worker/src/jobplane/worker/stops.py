"""Why a run must stop before its handler is done."""

from enum import StrEnum


class Stop(StrEnum):
    """The first cause counts."""

    CANCELLED = "cancelled"
    """An admin cancelled the job; what really happened is reported."""
    TIMEOUT = "timeout"
    """It took too long; the platform has already failed it, nothing is reported."""
    LOST = "lost"
    """Somebody else has the job now; nothing is reported."""
    RELEASED = "released"
    """The worker ends; the job is given back."""
