"""Cursors of searches: where a page ended, and of which search it was."""

import json
import re
from hashlib import sha256
from typing import Final, NamedTuple

from jobplane.contracts import cursors
from jobplane.contracts.errors import Refused
from jobplane.contracts.job_filter import JobFilter
from jobplane.contracts.queries import JobSort

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LIST: Final = re.compile(r"\[.*\]")
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
    return cursors.sealed(told)


def place_in(cursor: str, digest: str) -> Place:
    """Where the page before ended.

    Raises:
        Refused: `invalid_cursor`: it is none of ours, or of another search.
    """
    try:
        told = json.loads(cursors.opened(cursor, _LIST)[0])
    except ValueError:
        told = None
    match told:
        case [str(found), str(job_id), int(key)] if _ID.fullmatch(job_id) and -_LARGEST <= key < _LARGEST:
            if found == digest:
                return Place(job_id, key)
            detail = (
                "This cursor is of another search: leave it out, or ask with the filter and the order it came from."
            )
            raise Refused("invalid_cursor", detail)
    raise Refused("invalid_cursor", cursors.NOT_OURS)
