"""Cursors of pages: texts that are read only by whoever made them."""

import base64
import binascii
import re

from jobplane.contracts.errors import Refused

NOT_OURS = "This cursor is not one of ours: take next_cursor of the page before, or leave it out."


def sealed(place: str) -> str:
    """The cursor that leads back to a place; it may stand in a URL as it is."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def opened(cursor: str, shape: re.Pattern[str]) -> re.Match[str]:
    """The place in a cursor, which must be of this shape.

    Raises:
        Refused: `invalid_cursor`.
    """
    try:
        place = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        place = ""
    found = shape.fullmatch(place)
    if found is None or sealed(place) != cursor:
        raise Refused("invalid_cursor", NOT_OURS)
    return found
