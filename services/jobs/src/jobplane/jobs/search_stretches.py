"""Stretches of ids, and what the index finds in them, one after the other: as many entries are read as a page needs.

The index gives its entries in no order. So it is asked for the ids of a short time (see `search_times`), of which all
that match are sorted; then for those of the next, as long as promises to fill the page.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from jobplane.jobs import search_times
from jobplane.jobs.conditions import Condition
from jobplane.jobs.search_sql import ROW_COLUMNS

SORTED: Final = 10_000
"""Jobs that are sorted within the time of a page."""
_FEW: Final = 200
"""Entries that are read faster than anything is thought over."""
_GROWTH: Final = 16
_DEARER: Final = 2
"""An entry with its job, compared with a job that a walk looks at."""
_ITS_JOB: Final = f"JOIN LATERAL (SELECT {ROW_COLUMNS} FROM job WHERE id = matched.job_id OFFSET 0) AS job ON true"  # noqa: S608 - constants
_ID_AS_TEXT: Final = 's.job_id::text COLLATE "C"'
"""In the same order; but the planner cannot walk along the ids instead of asking the index of the terms."""


class Rows(Protocol):
    """Runs a statement."""

    def __call__(
        self, text: str, parameters: Sequence[object] = (), *, along_indexes: bool = False
    ) -> Awaitable[list[Any]]:
        """Gives the rows; `along_indexes`: whatever the planner thinks, no table is read from its beginning."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The ids between two, neither of them included, in the order in which they are wanted."""

    above: int
    below: int
    up: bool
    """The smallest first."""

    @property
    def length(self) -> int:
        """How many ids there may be."""
        return max(0, self.below - self.above - 1)

    @property
    def begin(self) -> str:
        """The id in front of the first."""
        return str(UUID(int=self.above if self.up else self.below))

    @property
    def ends(self) -> list[str]:
        """Both ids."""
        return [str(UUID(int=self.above)), str(UUID(int=self.below))]

    def first(self, length: int) -> "Stretch":
        """The beginning of it."""
        if self.up:
            return Stretch(self.above, min(self.above + length + 1, self.below), self.up)
        return Stretch(max(self.below - length - 1, self.above), self.below, self.up)

    def behind(self, last: int) -> "Stretch":
        """What follows an id."""
        return Stretch(last, self.below, self.up) if self.up else Stretch(self.above, last, self.up)

    def without(self, first: "Stretch") -> "Stretch":
        """What follows a beginning of it."""
        return self.behind(first.below - 1 if self.up else first.above + 1)


@dataclass(frozen=True, slots=True)
class Indexed:
    """What is asked of the index, and of the jobs that it finds."""

    narrowed: Condition
    rows: Condition


async def from_index(asked: Indexed, rows: Rows, stretch: Stretch, gap: int, limit: int) -> tuple[list[str], Stretch]:
    """The next jobs that match, and where nobody has looked yet: there a walk looks at fewer rows, or nothing is left.

    `gap` is how far the jobs lie apart that a walk would look at.
    """
    found: list[str] = []
    length = max(1, _FEW // _DEARER * gap)
    while len(found) < limit and stretch.length:
        part = stretch.first(length)
        worth = max(_FEW, part.length // gap // _DEARER)
        entries, ids = await _look(asked, rows, part, limit - len(found), min(worth, SORTED))
        if entries > worth:
            break
        if entries > SORTED:
            if part.length <= gap:
                break
            length = part.length // _GROWTH
            continue
        found += ids
        stretch = stretch.without(part)
        length = part.length * _GROWTH
        if ids:
            length = min(length, part.length * 3 * (limit - len(found)) // (2 * len(ids)) + 1)
        if entries:
            length = max(1, min(length, part.length * SORTED // (2 * entries)))
    return found, stretch


async def _look(asked: Indexed, rows: Rows, stretch: Stretch, limit: int, most: int) -> tuple[int, list[str]]:
    """How many entries there are, as far as `most` and one more, and the next jobs if these are not too many."""
    order = "id" if stretch.up else "id DESC"
    narrowed, told = asked.narrowed
    times = search_times.among(stretch.above, stretch.below)
    if times is not None:
        narrowed, told = f"{narrowed} AND s.terms @@ %s::tsquery", [*told, times]
    conditions, more = asked.rows
    text = f"""
        WITH matched AS MATERIALIZED (
            SELECT s.job_id FROM job_search AS s
            WHERE {narrowed} AND {_ID_AS_TEXT} > %s AND {_ID_AS_TEXT} < %s LIMIT {most + 1}
        ),
        few AS MATERIALIZED (SELECT job_id FROM matched WHERE (SELECT count(*) FROM matched) <= {most}),
        found AS (
            SELECT job.id FROM (SELECT job_id FROM few ORDER BY job_{order}) AS matched {_ITS_JOB}
            WHERE {conditions} LIMIT %s
        )
        SELECT (SELECT count(*) FROM matched), ARRAY(SELECT id::text FROM found ORDER BY {order})
    """  # noqa: S608 - constants
    [(count, ids)] = await rows(text, [*told, *stretch.ends, *more, limit], along_indexes=True)
    return count, ids
