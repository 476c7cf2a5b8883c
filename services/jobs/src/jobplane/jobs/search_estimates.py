"""About how many rows a statement gives: what the planner thinks, by its statistics, without reading them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobplane.jobs.search_stretches import Rows


async def estimated(rows: "Rows", text: str, parameters: Sequence[object]) -> int:
    """The planner's estimate; never less than one."""
    [(plan,)] = await rows(f"EXPLAIN (FORMAT JSON) {text}", parameters)
    return int(plan[0]["Plan"]["Plan Rows"])


def rounded(number: int) -> int:
    """To two digits: what is an estimate must not look exact."""
    step: int = 10 ** max(0, len(str(number)) - 2)
    return (number + step // 2) // step * step
