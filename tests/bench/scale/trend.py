"""Whether a series of readings stays where it is. Arithmetic only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WARM_UP: Final = 0.2
"""This share of a run is not judged: caches fill, pools open."""
LEAST_S: Final = 1200.0
"""Shorter runs are not judged at all."""


@dataclass(frozen=True, slots=True)
class Trend:
    """The straight line through a series, by least squares, after the warm-up."""

    name: str
    unit: str
    first: float
    """Where the line begins."""
    last: float
    """Where it ends."""
    per_hour: float
    seconds: float
    allowed: float
    """Growth per hour, as a share of where the line begins, that is still called flat."""
    slack: float
    """And this much in the unit, whatever the share."""

    @property
    def verdict(self) -> str:
        """In one word, or three."""
        if self.seconds < LEAST_S:
            return "too short to judge"
        return "grows" if self.per_hour > max(self.allowed * abs(self.first), self.slack) else "flat"


def trend(
    name: str, unit: str, times: Sequence[float], values: Sequence[float], *, allowed: float, slack: float
) -> Trend | None:
    """The trend of `values` at `times` in seconds; none of less than three readings after the warm-up."""
    since = times[0] + (times[-1] - times[0]) * WARM_UP if times else 0.0
    points = [(at, value) for at, value in zip(times, values, strict=True) if at >= since]
    if len(points) < 3:
        return None
    middle_at = sum(at for at, _ in points) / len(points)
    middle = sum(value for _, value in points) / len(points)
    spread = sum((at - middle_at) ** 2 for at, _ in points)
    slope = sum((at - middle_at) * (value - middle) for at, value in points) / spread if spread else 0.0
    begin, end = points[0][0], points[-1][0]
    return Trend(
        name=name,
        unit=unit,
        first=middle + slope * (begin - middle_at),
        last=middle + slope * (end - middle_at),
        per_hour=slope * 3600,
        seconds=times[-1] - times[0],
        allowed=allowed,
        slack=slack,
    )
