"""Why no job can ever match a filter: conditions that exclude each other, at any time and whatever jobs there are."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from jobplane.contracts.jobs import FINISHED, JobStatus

if TYPE_CHECKING:
    from jobplane.contracts.job_filter import JobFilter

_ORDER: Final = (("created", "started"), ("started", "finished"), ("created", "finished"))
"""Of two instants of a job, which comes first."""
PRIORITIES: Final = range(-1000, 1001)
ATTEMPTS: Final = range(1_000_000)
"""No job is ever tried so often."""


class Contradiction(NamedTuple):
    """Conditions that exclude each other."""

    names: tuple[str, ...]
    """Of which keys."""
    why: str


def contradiction(wanted: "JobFilter") -> Contradiction | None:
    """The first that is found; None if a job may match, now or later."""
    return next(_all(wanted), None)


def covered(kind: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns means everything that `kind`, maybe a pattern itself, means."""
    stem = kind.removesuffix("*")
    return any(stem.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == kind for pattern in patterns)


def _all(wanted: "JobFilter") -> Iterator[Contradiction]:
    yield from of_exclusions(wanted)
    statuses = set(wanted.status or JobStatus) - set(wanted.excluded.status)
    if wanted.finished is not None and not statuses & FINISHED:
        yield Contradiction(("finished", "status"), "jobs that are pending or running have not finished")
    for name in ("error", "fingerprint"):
        if getattr(wanted, name) and statuses == {JobStatus.COMPLETED}:
            yield Contradiction((name, "status"), "a completed job has no error any more")
    for first, then in _ORDER:
        begin, end = getattr(wanted, first), getattr(wanted, then)
        if begin is not None and end is not None and begin.since and end.until and end.until <= begin.since:
            yield Contradiction((then, first), f"no job is {then} before it is {first}")
    for name, possible in (("priority", PRIORITIES), ("attempt", ATTEMPTS)):
        asked = getattr(wanted, name)
        if asked is not None and (
            (asked.least is not None and asked.least > possible[-1])
            or (asked.most is not None and asked.most < possible[0])
        ):
            least, most = possible[0], possible[-1]
            yield Contradiction((name,), f"no job has such {_A[name]} {name}: it lies between {least} and {most}")


_A: Final = {"priority": "a", "attempt": "an"}


def of_exclusions(wanted: "JobFilter") -> Iterator[Contradiction]:
    """What is wanted and not wanted."""
    if wanted.older is not None and wanted.newer is not None and wanted.older >= wanted.newer:
        yield Contradiction(("newer", "older"), "nothing is both older and newer than that: give newer the longer time")
    if set(wanted.excluded.status) >= set(wanted.status or JobStatus):
        yield Contradiction(("-status", "status"), "every status that is wanted is excluded")
    for name in ("queue", "tag"):
        asked, without = getattr(wanted, name), getattr(wanted.excluded, name)
        if asked and set(asked) <= set(without):
            yield Contradiction((f"-{name}", name), f"every {name} that is wanted is excluded")
    if len({one.path for one in wanted.payload}) < len(wanted.payload):
        yield Contradiction(("payload",), "a place in the payload is asked for twice: give all its values at once")
    if wanted.kind and all(covered(kind, wanted.excluded.kind) for kind in wanted.kind):
        yield Contradiction(("-kind", "kind"), "every kind that is wanted is excluded")
