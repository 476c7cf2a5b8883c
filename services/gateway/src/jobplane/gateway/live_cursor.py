"""Where a reader of the live stream stands: one position per stream and the epoch they belong to (`1.j120.a7.h0`)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from jobplane.contracts.errors import Refused
from jobplane.contracts.topology import EVT_ADMIN, EVT_HEALTH, EVT_JOBS

STREAMS: Final = (EVT_JOBS, EVT_ADMIN, EVT_HEALTH)
"""The streams followed; everything here counts them in this order."""
_LETTERS: Final = "jah"
PATTERN: Final = r"^([0-9]{1,9})((?:\.[jah][0-9]{1,18})+)$"
_CURSOR = re.compile(PATTERN)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last position seen of each stream; a stream without one is followed from now on."""

    epoch: int
    positions: tuple[int | None, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an event id; it may leave streams out (`1.j120`).

        Raises:
            Refused: `invalid_cursor`.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise Refused("invalid_cursor", "Last-Event-ID is the id of an event of this stream, such as 1.j120.a7.h0.")
        named = {part[0]: int(part[1:]) for part in match[2].removeprefix(".").split(".")}
        return cls(int(match[1]), tuple(named.get(letter) for letter in _LETTERS))


def render(epoch: int, positions: Sequence[int]) -> str:
    """The event id of a reader that has seen these positions."""
    return f"{epoch}." + ".".join(f"{letter}{position}" for letter, position in zip(_LETTERS, positions, strict=True))
