"""What requests say of the jobs they mean: a query and typed parameters, as one filter."""

from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BeforeValidator, StringConstraints, ValidationError

from jobplane.contracts.commands import KIND_PATTERN
from jobplane.contracts.job_filter import FINGERPRINT_PATTERN, JobFilter, TagWanted, Text, conjoined
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.search_grammar import LONGEST_QUERY, NO_JOB, InvalidQuery, TokenError, parse
from jobplane.contracts.subjects import QUEUE_PATTERN, WORKER_PATTERN
from jobplane.gateway.accounts import Accounts
from jobplane.gateway.origins import only_uuids
from jobplane.gateway.problems import FieldError, Misread

SEARCH_S: Final = 3.0
"""How long to wait for a search: the jobs service gives it up before."""
MAY_MISREAD: Final = ("invalid_query", "field_redacted", "position_not_reached", "search_too_slow", "index_behind")
"""How every search may be refused."""
_MANY: Final = 50
_SHOWN: Final = 100

SearchQuery = Annotated[
    str,
    Query(
        max_length=LONGEST_QUERY,
        description="A query, see the documentation of the search; it composes with all other parameters.",
        examples=['status:failed kind:image.* payload.user:42 error:"timed out" older:2h'],
    ),
]
_Status = Annotated[JobStatus, BeforeValidator(lambda told: told.upper() if isinstance(told, str) else told)]
Statuses = Annotated[list[_Status], Query(description="Any of these, in capitals or not.", max_length=5)]
Queues = Annotated[
    list[Annotated[str, StringConstraints(pattern=QUEUE_PATTERN)]],
    Query(max_length=_MANY, description="In any of these queues."),
]
Kinds = Annotated[
    list[Annotated[str, StringConstraints(pattern=KIND_PATTERN)]],
    Query(max_length=_MANY, description="Of any of these kinds."),
]
Tags = Annotated[list[TagWanted], Query(max_length=_MANY, description="With any of these tags.")]
Workers = Annotated[
    list[Annotated[str, StringConstraints(pattern=WORKER_PATTERN)]],
    Query(max_length=_MANY, description="Run by any of these workers, now or last."),
]
Actors = Annotated[
    list[Text], Query(max_length=_MANY, description="Any of these people did something with it (names, or ids).")
]
Assets = Annotated[list[Text], Query(max_length=_MANY, description="Works on any of these files (ids).")]
Fingerprints = Annotated[
    list[Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)]],
    Query(max_length=_MANY, description="Its current error is of any of these groups."),
]
IndexedTo = Annotated[
    int | None,
    Query(
        ge=1,
        lt=2**63,
        description="A `position` that an answer told: waits until the index of the search knows it, or is refused.",
        examples=[4711],
    ),
]


def filter_of(query: str, *, loc: tuple[str, ...] = ("query", "q"), **given: Any) -> JobFilter:  # noqa: ANN401 - typed
    """What the query means, and any of the values of each parameter; `loc` is where the query stands in the request.

    Raises:
        Misread: `invalid_query`, with the parts that are wrong.
    """
    beside = JobFilter.model_validate({name: tuple(values) for name, values in given.items()})
    try:
        return conjoined(parse(query), beside)
    except InvalidQuery as error:
        raise Misread(
            "invalid_query",
            _sentence(error.errors[0].msg),
            [_pointing_at(one, loc) for one in error.errors],
        ) from error
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Misread("invalid_query", f"No job can match: {why}.", []) from error
    except ValueError as error:
        raise Misread(
            "invalid_query", f"The query and the other parameters exclude each other: {error}.", []
        ) from error


async def with_ids(accounts: Accounts, wanted: JobFilter) -> JobFilter:
    """The filter with the ids of the people that it names: events and indexes know nobody's name.

    Raises:
        Misread: `invalid_query`: nobody has such a name.
    """
    ids = set(only_uuids(wanted.actor))
    names = [actor for actor in wanted.actor if actor not in ids]
    if not names:
        return wanted
    known = await accounts.ids(names)
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        detail = f"Nobody is called {unknown[:_SHOWN]}: name an account, or give an id as histories show it."
        raise Misread("invalid_query", detail, [])
    actors = dict.fromkeys(known.get(actor, actor) for actor in wanted.actor)
    return wanted.model_copy(update={"actor": tuple(actors)})


def _sentence(msg: str) -> str:
    if msg.startswith(NO_JOB):
        return f"{msg[0].upper()}{msg[1:]}."
    return f"The query cannot be understood: {msg}."


def _pointing_at(error: TokenError, loc: tuple[str, ...]) -> FieldError:
    return FieldError(
        loc=list(loc),
        msg=error.msg,
        position=error.position,
        length=error.length,
        token=error.token[:_SHOWN],
    )
