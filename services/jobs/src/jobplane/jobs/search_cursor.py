"""Cursors of searches: where a page ended, and of which search it was."""

import base64
import binascii
import json
import re
from hashlib import sha256
from typing import Final, NamedTuple

from jobplane.contracts.errors import Refused
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.queries import JobSort

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LARGEST: Final = 2**63


class Place(NamedTuple):
    """The last job of a page."""

    id: str
    key: int
    """What it was sorted by, if not by its id."""


def digest_of(wanted: JobFilter, sort: JobSort) -> str:
    """The same for the same search only."""
    return sha256(f"{sort} {wanted.model_dump_json(exclude_defaults=True)}".encode()).hexdigest()[:12]


def cursor_of(place: Place, digest: str) -> str:
    """The cursor for the page after a job."""
    told = json.dumps([digest, place.id, place.key], separators=(",", ":"))
    return base64.urlsafe_b64encode(told.encode()).decode().rstrip("=")


def place_in(cursor: str, digest: str) -> Place:
    """Where the page before ended.

    Raises:
        Refused: `invalid_cursor`: it is none of ours, or of another search.
    """
    try:
        told = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (ValueError, binascii.Error):
        told = None
    match told:
        case [str(found), str(job_id), int(key)] if _ID.fullmatch(job_id) and -_LARGEST <= key < _LARGEST:
            if found == digest:
                return Place(job_id, key)
            detail = (
                "This cursor is of another search: leave it out, or ask with the filter and the order it came from."
            )
            raise Refused("invalid_cursor", detail)
    raise Refused(
        "invalid_cursor", "This cursor is not one of ours: take next_cursor of the page before, or leave it out."
    )
