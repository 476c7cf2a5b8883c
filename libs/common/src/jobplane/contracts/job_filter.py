"""Which jobs are meant: the typed filter behind lists, counts and bulk operations; see docs/search.md."""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Self

from pydantic import (
    AwareDatetime,
    Field,
    JsonValue,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jobplane.contracts.commands import TAG_PATTERN
from jobplane.contracts.contradictions import contradiction, covered, of_exclusions
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.message import Message
from jobplane.contracts.search_words import words
from jobplane.contracts.subjects import QUEUE_PATTERN, WORKER_PATTERN

MAX_VALUES: Final = 50
MAX_TERMS: Final = 20
MAX_PATH: Final = 8
SHORTEST_PREFIX: Final = 3
"""Letters and digits that must stand before a star: fewer would mean too many words."""
LONGEST_AGE: Final = timedelta(days=3650)
KIND_WANTED: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\*?$"
FINGERPRINT_PATTERN: Final = r"^[0-9a-f]{16}$"
ID_PATTERN: Final = (
    r"^[0-9a-f]{4,8}$|^[0-9a-f]{8}-[0-9a-f]{0,4}$|^[0-9a-f]{8}(-[0-9a-f]{4}){1,3}-[0-9a-f]{0,4}$"
    r"|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{0,12}$"
)
_TEXT: Final = r"^[^\x00-\x1f\x7f]+$"
_SCALAR: Final = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?|true|false|null")
"""What means more than a text in a payload: longer numbers and exponents do not, for nobody writes them twice alike."""
_ID: Final = re.compile(ID_PATTERN)
_OF_NO_TEXT: Final = 8
"""A word of a free text is taken for the beginning of an id, too, from so many characters on."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_TEXT)]
QueueWanted = Annotated[str, StringConstraints(pattern=QUEUE_PATTERN)]
KindWanted = Annotated[str, StringConstraints(pattern=KIND_WANTED)]
TagWanted = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=TAG_PATTERN)]
Many = Field(default=(), max_length=MAX_VALUES)


class Span(Message):
    """A stretch of time."""

    since: AwareDatetime | None = None
    """Not before this instant."""
    until: AwareDatetime | None = None
    """Before this instant."""

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("the range is empty: it ends before it begins")
        return self


class Bounds(Message):
    """A stretch of numbers, both ends included."""

    least: int | None = Field(default=None, ge=-(2**31), lt=2**31)
    """Not below it."""
    most: int | None = Field(default=None, ge=-(2**31), lt=2**31)
    """Not above it."""

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError("the range is empty: it ends before it begins")
        return self


class Words(Message):
    """Words that stand one after the other somewhere."""

    text: Text
    """Compared word by word, without regard to case and to what stands between words."""
    prefix: bool = False
    """The last word may go on."""

    @model_validator(mode="after")
    def _has_words(self) -> Self:
        found = words(self.text)
        if not found:
            raise ValueError("there is no letter and no digit in it to search for")
        if self.prefix and len(found[-1]) < SHORTEST_PREFIX:
            raise ValueError(f"at least {SHORTEST_PREFIX} letters or digits must stand before the *")
        return self

    @property
    def id_prefix(self) -> str | None:
        """The beginning of a job's id that it may be, too."""
        return self.text if len(self.text) >= _OF_NO_TEXT and _ID.fullmatch(self.text) else None


class PayloadValue(Message):
    """What a value in a payload is compared with."""

    text: str = Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
    """As it was written."""
    quoted: bool = False
    """Only the text: otherwise ``42``, ``true`` and ``null`` mean the number, boolean or null as well."""

    @field_validator("quoted")
    @classmethod
    def _only_where_it_matters(cls, quoted: bool, told: ValidationInfo) -> bool:  # noqa: FBT001 - a validator
        return quoted and _SCALAR.fullmatch(told.data.get("text", "")) is not None

    @property
    def scalar(self) -> JsonValue:
        """The number, boolean or null that it means beside the text; else the text."""
        is_text = self.quoted or _SCALAR.fullmatch(self.text) is None
        return self.text if is_text else json.loads(self.text)


class PayloadIs(Message):
    """One of some values stands at a place in the payload."""

    path: tuple[Text, ...] = Field(min_length=1, max_length=MAX_PATH)
    """The names down to it; a list on the way, or at the end, stands for each of its elements."""
    values: tuple[PayloadValue, ...] = Field(min_length=1, max_length=MAX_VALUES)


class Excluded(Message):
    """What jobs must not be."""

    status: tuple[JobStatus, ...] = Many
    queue: tuple[QueueWanted, ...] = Many
    kind: tuple[KindWanted, ...] = Many
    tag: tuple[TagWanted, ...] = Many


class JobFilter(Message):
    """Which jobs: all conditions hold; of several values of one condition, any. No condition: every job."""

    status: tuple[JobStatus, ...] = Many
    queue: tuple[QueueWanted, ...] = Many
    kind: tuple[KindWanted, ...] = Many
    """A star at the end stands for whatever follows."""
    tag: tuple[TagWanted, ...] = Many
    worker: tuple[Annotated[str, StringConstraints(pattern=WORKER_PATTERN)], ...] = Many
    """Who runs it, or ran it last."""
    actor: tuple[Text, ...] = Many
    """People and tokens, by id, who did something with it."""
    asset: tuple[Text, ...] = Many
    fingerprint: tuple[Annotated[str, StringConstraints(pattern=FINGERPRINT_PATTERN)], ...] = Many
    """Of its current error."""
    error: tuple[Words, ...] = Many
    """In the type or message of its current error."""
    id: tuple[Annotated[str, StringConstraints(pattern=ID_PATTERN)], ...] = Many
    """How the id begins."""
    created: Span | None = None
    started: Span | None = None
    """The latest run."""
    finished: Span | None = None
    run_at: Span | None = None
    older: timedelta | None = Field(default=None, ge=timedelta(), le=LONGEST_AGE)
    """Created longer ago than this, whenever it is asked."""
    newer: timedelta | None = Field(default=None, gt=timedelta(), le=LONGEST_AGE)
    """Created within this time, whenever it is asked."""
    attempt: Bounds | None = None
    priority: Bounds | None = None
    payload: tuple[PayloadIs, ...] = Field(default=(), max_length=MAX_TERMS)
    """Each of them holds."""
    text: tuple[Words, ...] = Field(default=(), max_length=MAX_TERMS)
    """Each of them is found somewhere: in payload, error, tags, kind, or as the beginning of the id."""
    excluded: Excluded = Excluded()

    @model_validator(mode="after")
    def _can_be_true(self) -> Self:
        why = next(of_exclusions(self), None)
        if why is not None:
            raise ValueError(why.why)
        return self

    @property
    def is_empty(self) -> bool:
        """Whether it means every job."""
        return self == JobFilter()


def conjoined(one: JobFilter, other: JobFilter) -> JobFilter:
    """The filter for what both mean.

    Raises:
        ValueError: no job can match both, or a condition that cannot be told as one is in both.
    """
    told: dict[str, object] = {}
    for name in JobFilter.model_fields:
        first, second = getattr(one, name), getattr(other, name)
        unset = JobFilter.model_fields[name].default
        if unset in (first, second) or first == second:
            told[name] = second if first == unset else first
        else:
            told[name] = _both(name, first, second)
    both = JobFilter.model_validate(told)
    why = contradiction(both)
    if why is not None:
        raise ValueError(why.why)
    return both


def _both(name: str, first: object, second: object) -> object:
    match first, second:
        case Span(), Span():
            return Span(since=_latest(first.since, second.since), until=_earliest(first.until, second.until))
        case Bounds(), Bounds():
            return Bounds(least=_latest(first.least, second.least), most=_earliest(first.most, second.most))
        case timedelta(), timedelta():
            return max(first, second) if name == "older" else min(first, second)
        case Excluded(), Excluded():
            return Excluded.model_validate(
                {key: _united(getattr(first, key), getattr(second, key)) for key in Excluded.model_fields}
            )
        case tuple(), tuple():
            return _both_lists(name, first, second)
    raise AssertionError(name)


def _both_lists(name: str, first: Sequence[object], second: Sequence[object]) -> Sequence[object]:
    if name in {"payload", "text"}:
        return _united(first, second)
    if name == "kind":
        kinds, others = [str(kind) for kind in first], [str(kind) for kind in second]
        common: Sequence[object] = _united(
            [kind for kind in kinds if covered(kind, others)], [kind for kind in others if covered(kind, kinds)]
        )
    elif name in {"tag", "actor", "error", "id"}:
        raise ValueError(f"{name} is asked for twice: say it in one place")
    else:
        common = [value for value in first if value in second]
    if not common:
        raise ValueError(f"no job has the {name} that is asked for in one place and the {name} in the other")
    return tuple(common)


def _united(first: Sequence[object], second: Sequence[object]) -> tuple[object, ...]:
    return tuple(dict.fromkeys([*first, *second]))


def _latest(first: Any, second: Any) -> Any:  # noqa: ANN401 - instants or numbers
    return max((value for value in (first, second) if value is not None), default=None)


def _earliest(first: Any, second: Any) -> Any:  # noqa: ANN401 - instants or numbers
    return min((value for value in (first, second) if value is not None), default=None)
