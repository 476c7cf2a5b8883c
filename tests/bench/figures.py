"""What was measured: values of repetitions, their median, and how two runs compare. Arithmetic only."""

import json
import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

Better = Literal["higher", "lower"]
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of one run: a value per repetition."""

    name: str
    title: str
    unit: str
    values: tuple[float, ...]
    better: Better
    target: float | None = None
    limit: str | None = None
    """Name of the raw limit of the machine that bounds it most."""
    note: str = ""

    @property
    def median(self) -> float:
        """Of the repetitions."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    @property
    def speed(self) -> float:
        """Grows with goodness, whatever the unit: the median, or its inverse where lower is better."""
        if self.better == "higher":
            return self.median
        return 1 / self.median if self.median else float("inf")

    @property
    def on_target(self) -> bool | None:
        """Whether the median meets the target; none without one."""
        if self.target is None:
            return None
        return self.median >= self.target if self.better == "higher" else self.median <= self.target


@dataclass(frozen=True, slots=True)
class Run:
    """Everything one run measured, and where."""

    machine: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    """What was not measured, and why."""

    def named(self, name: str) -> Measurement | None:
        """The measurement of that name."""
        return next((one for one in self.measurements if one.name == name), None)

    def onto(self, older: "Run | None") -> "Run":
        """This run, and what an older one measured that this one did not."""
        if older is None:
            return self
        mine = {one.name for one in self.measurements}
        kept = tuple(one for one in older.measurements if one.name not in mine)
        skipped = {name: why for name, why in older.skipped.items() if not any(n.startswith(name) for n in mine)}
        return Run(self.machine, kept + self.measurements, skipped | dict(self.skipped))

    def write(self, file: Path) -> None:
        """Keep it as JSON."""
        file.write_text(json.dumps({"format": FORMAT} | asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """What `write` kept."""
        told = json.loads(file.read_text())
        found = (Measurement(**(one | {"values": tuple(one["values"])})) for one in told["measurements"])
        return cls(told["machine"], tuple(found), told["skipped"])


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure in two runs; ratios above 1 mean that the newer run is better."""

    new: Measurement
    old: Measurement
    ratio: float
    machine: float | None
    """How much faster the machine itself was in the newer run, by the raw limit of the figure."""

    @property
    def corrected(self) -> float | None:
        """The ratio without the share of the machine."""
        return None if self.machine is None else self.ratio / self.machine


def compare(new: Run, old: Run) -> list[Comparison]:
    """What both runs measured, in the newer one's order."""
    found = []
    for one in new.measurements:
        before = old.named(one.name)
        if before is not None and before.unit == one.unit and before.speed > 0:
            found.append(Comparison(one, before, one.speed / before.speed, _machine(new, old, one.limit)))
    return found


def _machine(new: Run, old: Run, limit: str | None) -> float | None:
    now, before = (run.named(limit) if limit else None for run in (new, old))
    return now.speed / before.speed if now and before and before.speed else None


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
