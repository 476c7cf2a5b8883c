"""How wide the columns of a table are on a terminal: ids stay whole, whatever else must give way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

GAP: Final = 2
_LEAST: Final = 4
_READABLE: Final = 12
_LAST: Final = 20
"""A last column that is cut shorter than this tells nothing: it gets lines of its own."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where cells go."""

    widths: tuple[int, ...]
    """Of the columns that stand side by side."""
    beneath: bool
    """Whether the last column stands beneath them, a line for each row that has something in it."""


def laid_out(natural: Sequence[int], room: int, *, whole: bool = False) -> Layout:
    """Widths that fit: the first column (ids) whole; of the others the last one gives way first.

    It is cut, or if that leaves too little or it is to be whole, stands beneath.
    """
    gaps = GAP * (len(natural) - 1)
    if sum(natural) + gaps <= room or len(natural) == 1:
        return Layout(tuple(natural), beneath=False)
    left = room - gaps - sum(natural[:-1])
    if not whole and left >= min(natural[-1], _LAST):
        return Layout((*natural[:-1], left), beneath=False)
    first, *others = natural[:-1]
    return Layout((first, *_cut(others, room - first - GAP * len(others))), beneath=True)


def _cut(widths: list[int], room: int) -> list[int]:
    """From the right the long ones narrower, then whichever is the widest, until they fit or nothing would be left."""
    cut = list(widths)
    for index in reversed(range(len(cut))):
        cut[index] = max(min(cut[index], _READABLE), cut[index] - max(0, sum(cut) - room))
    while sum(cut) > room and max(cut, default=0) > _LEAST:
        cut[cut.index(max(cut))] -= 1
    return cut
