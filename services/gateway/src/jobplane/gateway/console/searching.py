"""What the query of the jobs screen finds, or why it finds nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.jobs import JobPage
from jobplane.gateway.console.filters import JobsView
from jobplane.gateway.problems import FieldError, Misread
from jobplane.gateway.searches import MAY_MISREAD, SEARCH_S, filter_of, with_ids
from jobplane.gateway.wiring import Gateway

NOTHING: Final = JobPage(items=[])


@dataclass(frozen=True, slots=True)
class NotSearched:
    """Why there is no list: shown in its place."""

    detail: str
    parts: tuple[tuple[str, bool], ...] = ()
    """The query in pieces, and whether each is wrong; none if no piece is to blame."""


async def find(gateway: Gateway, view: JobsView) -> tuple[JobPage, NotSearched | None]:
    """The page that the screen shows; an empty one with the reason if the search cannot be done.

    Raises:
        Refused: for another reason than what is searched for. Unavailable: the jobs service does not answer.
    """
    try:
        wanted = await with_ids(gateway.accounts, filter_of(view.q))
        page = await gateway.bus.ask_raw("jobs", "list", view.query(wanted), timeout_s=SEARCH_S)
    except (Refused, Unavailable) as error:
        if error.code not in MAY_MISREAD:
            raise
        errors = error.errors if isinstance(error, Misread) else ()
        return NOTHING, NotSearched(error.detail, pieces(view.q, errors))
    return JobPage.model_validate(page), None


def pieces(query: str, errors: Sequence[FieldError]) -> tuple[tuple[str, bool], ...]:
    """A query cut where its wrong parts begin and end; none if no part is wrong."""
    found: list[tuple[str, bool]] = []
    end = 0
    for error in errors:
        if error.position is None or not error.length or error.position < end:
            continue
        found += [(query[end : error.position], False), (query[error.position : error.position + error.length], True)]
        end = error.position + error.length
    return tuple(piece for piece in [*found, (query[end:], False)] if piece[0]) if found else ()
