"""Terms for the time in an id, by which the index is asked for a stretch of ids only: it gives nothing in an order."""

from collections.abc import Iterator
from typing import Final

_MARK: Final = "^"
_SHIFTS: Final = (12, 17, 22, 27)
"""Periods of 4 seconds, 2 minutes, 70 minutes and 37 hours: their lengths in bits of milliseconds."""
_MOST_PERIODS: Final = 64
"""That one question names."""
_TIME: Final = 80
"""Bits of an id behind its milliseconds."""


def of_id(job_id: str) -> Iterator[str]:
    """The periods that an id lies in, one of each length."""
    ms = int(job_id[:8] + job_id[9:13], 16)
    return (_term(level, ms >> shift) for level, shift in enumerate(_SHIFTS))


def among(above: int, below: int) -> str | None:
    """All ids between two, and some beside, as PostgreSQL reads a tsquery; None if that is too long a time."""
    first, last = (above + 1) >> _TIME, (below - 1) >> _TIME
    for level, shift in enumerate(_SHIFTS):
        periods = range(first >> shift, (last >> shift) + 1)
        if len(periods) <= _MOST_PERIODS:
            return " | ".join(f"'{_term(level, number)}'" for number in periods)
    return None


def _term(level: int, number: int) -> str:
    return f"{_MARK}{level}{number:x}"
