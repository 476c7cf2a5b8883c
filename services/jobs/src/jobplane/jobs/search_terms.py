"""What a job is found by: the terms of the index, and the same terms as queries ask for them.

A term is a plain word, or begins with a mark that no word has: `!` a word of the error (alone: it failed), `~` kind,
`#` tag, `@` actor, `$` asset, `%` fingerprint, `=` a value at a place of the payload (as a digest: of any length, and
not readable), `^` the time in its id (see `search_times`).
"""

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from jobplane.contracts.job_filter import MAX_PATH, JobFilter, PayloadIs, Words
from jobplane.contracts.search_words import words
from jobplane.jobs import search_times
from jobplane.jobs.redaction import Redaction

MAX_WORDS: Final = 1000
"""Of a payload, in order."""
MAX_ERROR_WORDS: Final = 300
MAX_VALUES: Final = 500
"""Of a payload, in order."""
_LONGEST_TEXT: Final = 32 * 1024
_GAP: Final = 8
"""Between two values: no phrase goes from one into the next."""
_LAST_POSITION: Final = 16_000
_MOST_POSITIONS: Final = 200
_ERROR, _KIND, _TAG, _ACTOR, _ASSET, _FINGERPRINT, _VALUE = "!~#@$%="


@dataclass(frozen=True, slots=True)
class Searched:
    """What of a job is searched."""

    id: str
    kind: str
    tags: Sequence[str]
    asset: str | None
    actors: Iterable[str]
    payload: JsonValue
    failed: bool
    """Its latest run failed; such are all that are FAILED."""
    error_type: str | None
    error_fingerprint: str | None
    error_message: str


class _Terms:
    """Terms with the places where they stand."""

    def __init__(self) -> None:
        self._places: dict[str, list[int]] = {}
        self._at = 1

    def mark(self, mark: str, text: str) -> None:
        self._places.setdefault(mark + text, [])

    def read(self, text: str, *, mark: str = "", most: int) -> int:
        """Add words that follow each other, each also with the mark if there is one; gives how many."""
        found = list(islice(words(text[:_LONGEST_TEXT]), most))
        for word in found:
            for term in (word, mark + word) if mark else (word,):
                places = self._places.setdefault(term, [])
                if len(places) < _MOST_POSITIONS and self._at < _LAST_POSITION:
                    places.append(self._at)
            self._at += 1
        self._at += _GAP
        return len(found)

    def written(self) -> str:
        """As PostgreSQL reads a tsvector."""
        return " ".join(
            f"{_quoted(term)}:{','.join(map(str, places))}" if places else _quoted(term)
            for term, places in self._places.items()
        )


def terms_of(job: Searched, redaction: Redaction) -> str:
    """The terms of a job, as PostgreSQL reads a tsvector; nothing of what the redaction hides."""
    terms = _Terms()
    for term in search_times.of_id(job.id):
        terms.mark("", term)
    terms.mark(_KIND, job.kind)
    terms.read(job.kind, most=MAX_WORDS)
    for tag in job.tags:
        terms.mark(_TAG, tag)
        terms.read(tag, most=MAX_WORDS)
    for actor in job.actors:
        terms.mark(_ACTOR, actor)
    if job.asset is not None:
        terms.mark(_ASSET, job.asset)
    if job.failed:
        terms.mark(_ERROR, "")
    if job.error_type is not None:
        terms.mark(_FINGERPRINT, job.error_fingerprint or "")
        terms.read(job.error_type, mark=_ERROR, most=MAX_ERROR_WORDS)
        terms.read(redaction.text(job.error_message), mark=_ERROR, most=MAX_ERROR_WORDS)
    left = MAX_WORDS
    for path, told in islice(_values((), job.payload, redaction), MAX_VALUES):
        value = redaction.text(told) if isinstance(told, str) else told
        terms.mark(_VALUE, _digest(path, value))
        if left and isinstance(value, str | int | float) and not isinstance(value, bool):
            left -= terms.read(str(value), most=left)
    return terms.written()


def _values(
    path: tuple[str, ...], value: JsonValue, redaction: Redaction
) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    """The values of a payload with their places; those of a list have the place of the list."""
    if isinstance(value, dict):
        if len(path) == MAX_PATH:
            return
        for key, below in value.items():
            if not redaction.hides(key):
                yield from _values((*path, key), below, redaction)
    elif isinstance(value, list):
        for below in value:
            if not isinstance(below, list):
                yield from _values(path, below, redaction)
    else:
        yield path, value


def _digest(path: Sequence[str], value: JsonValue) -> str:
    """Equal for equal places and values; 80 bits."""
    if isinstance(value, float) and math.isfinite(value) and value == math.floor(value):
        value = int(value)  # 42.0 and 42 are one number
    told = to_json([*path, value], inf_nan_mode="constants")
    return base64.b64encode(blake2b(told, digest_size=10).digest()).decode()[:14]


def asked_of_words(wanted: Words, mark: str = "") -> str:
    """The words one after the other, as PostgreSQL reads a tsquery."""
    found = [_quoted(mark + word) for word in words(wanted.text)]
    if wanted.prefix:
        found[-1] += ":*"
    return f"({' <-> '.join(found)})"


def asked(wanted: JobFilter) -> str | None:
    """What only the index can tell, free text excepted: error, payload and actors, as PostgreSQL reads a tsquery."""
    return _all(
        chain(
            (_any(_value_terms(one)) for one in wanted.payload),
            [_any(asked_of_words(one, _ERROR) for one in wanted.error)],
            [_any(_quoted(_ACTOR + actor) for actor in wanted.actor)],
        )
    )


def asked_beside(wanted: JobFilter) -> str | None:
    """What the index can tell, too, of what the rows tell: it narrows, the rows decide."""
    return _all(
        [
            _any(_quoted(_TAG + tag) for tag in wanted.tag),
            _any(_quoted(_KIND + kind.removesuffix("*")) + ":*" * kind.endswith("*") for kind in wanted.kind),
            _any(_quoted(_ASSET + asset) for asset in wanted.asset),
            _any(_quoted(_FINGERPRINT + fingerprint) for fingerprint in wanted.fingerprint),
        ]
    )


FAILED: Final = f"'{_ERROR}'"
"""That it failed, as PostgreSQL reads a tsquery."""


def _value_terms(one: PayloadIs) -> Iterator[str]:
    for value in one.values:
        meant = [value.scalar] if isinstance(value.scalar, str) else [value.scalar, value.text]
        yield from (_quoted(_VALUE + _digest(one.path, scalar)) for scalar in meant)


def _all(parts: Iterable[str]) -> str | None:
    return " & ".join(part for part in parts if part) or None


def _any(parts: Iterable[str]) -> str:
    told = " | ".join(parts)
    return f"({told})" if told else ""


def _quoted(term: str) -> str:
    if "\\" in term or "'" in term:
        term = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{term}'"
