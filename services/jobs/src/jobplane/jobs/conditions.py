"""What a filter asks of the rows of `job`: SQL conditions and their parameters."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from jobplane.contracts.job_filter import Bounds, JobFilter, Span

_FIRST_ID = "00000000-0000-0000-0000-000000000000"
_LAST_ID = "ffffffff-ffff-ffff-ffff-ffffffffffff"


class Condition(NamedTuple):
    """A condition and its parameters."""

    text: str
    parameters: Sequence[object]


def of_rows(wanted: JobFilter) -> list[Condition]:
    """Everything that the rows of `job` can tell by themselves; all of it must hold."""
    return [*_of_values(wanted), *_of_ranges(wanted), *_excluded(wanted)]


def conjunction(conditions: Iterable[Condition]) -> Condition:
    """All of them; true where there is none."""
    listed = list(conditions)
    text = " AND ".join(f"({condition.text})" for condition in listed) or "true"
    return Condition(text, [value for condition in listed for value in condition.parameters])


def id_range(prefix: str) -> tuple[str, str]:
    """The first and the last id that begin so."""
    return prefix + _FIRST_ID[len(prefix) :], prefix + _LAST_ID[len(prefix) :]


def of_ids(column: str, prefixes: Iterable[str]) -> Condition:
    """Ids that begin with any of these."""
    ranges = [id_range(prefix) for prefix in prefixes]
    text = " OR ".join(f"{column} BETWEEN %s::uuid AND %s::uuid" for _ in ranges)
    return Condition(text, [bound for two in ranges for bound in two])


def _of_values(wanted: JobFilter) -> Iterator[Condition]:
    for column, values in (
        ("status", wanted.status),
        ("queue", wanted.queue),
        ("asset", wanted.asset),
        ("error_fingerprint", wanted.fingerprint),
    ):
        if values:
            yield Condition(f"{column} = ANY(%s::text[])", [[str(value) for value in values]])
    if wanted.worker:
        # True of every job of any worker: lets the planner use the indexes of all phases together.
        some = f"worker = ANY(%s::text[]) AND worker IS NOT NULL AND ({' OR '.join(PHASES)})"
        yield Condition(some, [list(wanted.worker)])
    if wanted.kind:
        yield _of_kinds(wanted.kind)
    if wanted.tag:
        yield Condition("tags && %s::text[]", [list(wanted.tag)])
    if wanted.id:
        yield of_ids("id", wanted.id)


PHASES: Final = (
    "status IN ('COMPLETED', 'FAILED', 'CANCELLED')",
    "status NOT IN ('RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')",
    "status NOT IN ('PENDING', 'COMPLETED', 'FAILED', 'CANCELLED')",
)
"""Each has indexes of its own, which say so word for word; one of them is always true."""


def _of_kinds(kinds: Sequence[str]) -> Condition:
    exact = [kind for kind in kinds if not kind.endswith("*")]
    stems = [kind[:-1] for kind in kinds if kind.endswith("*")]
    parts = ["kind = ANY(%s::text[])"] if exact else []
    parts += ["starts_with(kind, %s)"] * len(stems)
    return Condition(" OR ".join(parts), [*([exact] if exact else []), *stems])


def _of_ranges(wanted: JobFilter) -> Iterator[Condition]:
    for column, stretch in (
        ("created_at", wanted.created),
        ("started_at", wanted.started),
        ("finished_at", wanted.finished),
        ("run_at", wanted.run_at),
    ):
        if stretch is not None:
            yield from _of_span(column, stretch)
    for column, numbers in (("attempt", wanted.attempt), ("priority", wanted.priority)):
        if numbers is not None:
            yield from _of_bounds(column, numbers)
    if wanted.older is not None:
        yield _of_age("<=", wanted.older)
    if wanted.newer is not None:
        yield _of_age(">", wanted.newer)


def _of_span(column: str, stretch: Span) -> Iterator[Condition]:
    if stretch.since is not None:
        yield Condition(f"{column} >= %s::timestamptz", [stretch.since])
    if stretch.until is not None:
        yield Condition(f"{column} < %s::timestamptz", [stretch.until])


def _of_bounds(column: str, numbers: Bounds) -> Iterator[Condition]:
    if numbers.least is not None:
        yield Condition(f"{column} >= %s::int", [numbers.least])
    if numbers.most is not None:
        yield Condition(f"{column} <= %s::int", [numbers.most])


def _of_age(compared: str, age: timedelta) -> Condition:
    return Condition(f"created_at {compared} now() - %s::interval", [age])


def _excluded(wanted: JobFilter) -> Iterator[Condition]:
    without = wanted.excluded
    for column, values in (("status", without.status), ("queue", without.queue)):
        if values:
            yield Condition(f"{column} <> ALL(%s::text[])", [[str(value) for value in values]])
    if without.kind:
        text, parameters = _of_kinds(without.kind)
        yield Condition(f"NOT ({text})", parameters)
    if without.tag:
        yield Condition("NOT tags && %s::text[]", [list(without.tag)])
