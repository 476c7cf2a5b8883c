"""The query grammar of the search: from text to filter; see docs/search.md."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from jobplane.contracts import search_habits
from jobplane.contracts.contradictions import contradiction
from jobplane.contracts.job_filter import MAX_TERMS, MAX_VALUES, Excluded, JobFilter, PayloadIs, PayloadValue, Words
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.message import Fact
from jobplane.contracts.search_values import BadValue, age, bounds, narrowed, span

LONGEST_QUERY: Final = 2000
NO_JOB: Final = "no job can match"
"""So begins the message for conditions that exclude each other."""
_SPAN_KEYS: Final = ("created", "started", "finished", "run_at")
_BOUND_KEYS: Final = ("attempt", "priority")
_AGE_KEYS: Final = ("older", "newer")
_LIST_KEYS: Final = ("status", "queue", "kind", "tag", "worker", "actor", "asset", "fingerprint", "id")
_EXCLUDABLE: Final = tuple(Excluded.model_fields)
KEYS: Final = (*_LIST_KEYS, "error", *_SPAN_KEYS, *_AGE_KEYS, *_BOUND_KEYS, "payload")
"""Every key; free text has none."""
_OTHER_NAMES: Final = {
    "state": "status",
    "type": "kind",
    "tags": "tag",
    "user": "actor",
    "by": "actor",
    "message": "error",
    "after": "created",
    "before": "created",
    "since": "created",
    "until": "created",
    "due": "run_at",
    "attempts": "attempt",
    "job": "id",
    "file": "asset",
    "body": "payload",
}
_KEYS_BY_NAME: Final = {**{key: key for key in KEYS}, **_OTHER_NAMES}
_HOW: Final[Mapping[str, str]] = {
    "id": "write the beginning of an id as it is shown, at least 4 digits, e.g. id:01920a3c-7f",
    "fingerprint": "a fingerprint has 16 hexadecimal digits",
    "kind": "a kind has letters, digits and _ . - only; a * may stand at its end",
    "queue": "a queue has lower-case letters, digits, _ and - only",
    "worker": "a worker has letters, digits, _ and - only",
}
_KEY: Final = re.compile(r"([A-Za-z_]\w*)((?:\.(?:\"(?:[^\"\\]|\\.)*\"|[^\s\".:,]+))*):")
_SEGMENT: Final = re.compile(r"\.(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\".:,]+))")
_QUOTED: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"")
_PLAIN: Final = re.compile(r"[^\s\",]+")
_WORD: Final = re.compile(r"[^\s\"]+")
_SPACE: Final = re.compile(r"\s*")
_TO_SPACE: Final = re.compile(r"\S*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class TokenError(Fact):
    """What is wrong with a part of a query."""

    position: int
    """Characters before it."""
    length: int
    """How many characters it has."""
    token: str
    """The part itself."""
    msg: str
    """What is wrong, and what to write instead."""


class InvalidQuery(Exception):
    """A query that means nothing; `errors` in the order of the text, never empty."""

    def __init__(self, errors: Sequence[TokenError]) -> None:
        super().__init__("; ".join(error.msg for error in errors))
        self.errors = list(errors)


@dataclass(frozen=True, slots=True)
class _Value:
    text: str
    quoted: bool
    starred: bool
    """A star stands at its end, outside of quotes; it is not in the text."""
    start: int
    end: int

    @property
    def written(self) -> str:
        """With its star."""
        return self.text + "*" * self.starred


@dataclass(frozen=True, slots=True)
class _Term:
    """One part of a query between spaces; a free text has no key."""

    negated: bool
    key: str | None
    path: tuple[str, ...]
    values: tuple[_Value, ...]
    start: int
    end: int


class _Wrong(Exception):
    def __init__(self, start: int, end: int, msg: str) -> None:
        super().__init__(msg)
        self.start = start
        self.end = end
        self.msg = msg


def parse(query: str) -> JobFilter:
    """The filter that a query means; an empty query means every job.

    Raises:
        InvalidQuery: with every part that is wrong.
    """
    if len(query) > LONGEST_QUERY:
        over = f"a query has at most {LONGEST_QUERY} characters"
        raise InvalidQuery([TokenError(position=LONGEST_QUERY, length=len(query) - LONGEST_QUERY, token="", msg=over)])
    reading = _Reading()
    errors: list[TokenError] = []
    position = _after_space(query, 0)
    while position < len(query):
        try:
            term = _term(query, position)
            position = term.end
            reading.take(term)
        except _Wrong as wrong:
            errors.append(_error(query, wrong))
            position = max(position, wrong.end)
            match = _TO_SPACE.match(query, position)
            position = match.end() if match else len(query)
        position = _after_space(query, position)
    if errors:
        raise InvalidQuery(errors)
    return reading.filter(query)


class _Reading:
    """The conditions of the terms that were read so far."""

    def __init__(self) -> None:
        self._lists: dict[str, dict[Any, None]] = {}
        self._excluded: dict[str, dict[Any, None]] = {}
        self._payload: dict[tuple[str, ...], dict[PayloadValue, None]] = {}
        self._text: dict[Words, None] = {}
        self._ranges: dict[str, Any] = {}
        self._places: dict[str, tuple[int, int]] = {}
        """Where each key stood last, with its minus if it had one."""

    def take(self, term: _Term) -> None:
        """Add a term.

        Raises:
            _Wrong: it means nothing.
        """
        key = term.key
        if key is None:
            self._take_text(term)
            return
        if key not in KEYS:
            raise _Wrong(term.start, _key_end(term), _unknown(key))
        if term.path and key != "payload":
            raise _Wrong(term.start, _key_end(term), f"only payload has parts: write {key}:…")
        if term.negated and key not in _EXCLUDABLE:
            names = ", ".join(_EXCLUDABLE)
            raise _Wrong(term.start, term.end, f"only {names} can be excluded with -")
        self._places["-" * term.negated + key] = term.start, term.end
        _refuse_habits(term)
        if key == "payload":
            self._take_payload(term)
        elif key == "error":
            self._take_error(term)
        elif key in _LIST_KEYS:
            listed = self._excluded if term.negated else self._lists
            _extend(listed.setdefault(key, {}), term, lambda value: _checked(key, value, negated=term.negated))
        else:
            self._take_range(key, term)

    def _take_text(self, term: _Term) -> None:
        [value] = term.values
        instead = None if value.quoted else search_habits.of_word(value.written, _KEYS_BY_NAME)
        if instead is not None:
            raise _Wrong(term.start, term.end, instead)
        if term.negated:
            raise _Wrong(term.start, term.end, "free text cannot be excluded; put it in quotes to search for the -")
        if len(self._text) == MAX_TERMS:
            raise _Wrong(term.start, term.end, f"a query has at most {MAX_TERMS} parts of free text")
        self._text[_words(value)] = None

    def _take_error(self, term: _Term) -> None:
        _extend(self._lists.setdefault("error", {}), term, _words)

    def _take_payload(self, term: _Term) -> None:
        if not term.path:
            raise _Wrong(term.start, _key_end(term), "say which value of the payload: write payload.user:42")
        if term.path not in self._payload and len(self._payload) == MAX_TERMS:
            raise _Wrong(term.start, term.end, f"a query asks for at most {MAX_TERMS} places in the payload")
        try:
            PayloadIs(path=term.path, values=(PayloadValue(text=""),))
        except ValidationError as error:
            raise _Wrong(term.start, _key_end(term), f"this is no place in a payload: {_plain(error)}") from error
        _extend(self._payload.setdefault(term.path, {}), term, _payload_value)

    def _take_range(self, key: str, term: _Term) -> None:
        if len(term.values) > 1:
            raise _Wrong(term.start, term.end, f"{key} takes one value or range, no list")
        [value] = term.values
        read: Callable[[str], Any] = span if key in _SPAN_KEYS else bounds if key in _BOUND_KEYS else age
        try:
            found = read(value.text)
            self._ranges[key] = narrowed(self._ranges.get(key), found)
        except BadValue as error:
            raise _Wrong(value.start, value.end, f"{key}: {error}") from error

    def filter(self, query: str) -> JobFilter:
        """All of it.

        Raises:
            InvalidQuery: no job can match.
        """
        conditions: dict[str, Any] = {
            **{name: tuple(values) for name, values in self._lists.items()},
            **self._ranges,
            "payload": tuple(PayloadIs(path=path, values=tuple(told)) for path, told in self._payload.items()),
            "text": tuple(self._text),
            "excluded": Excluded(**{name: tuple(values) for name, values in self._excluded.items()}),
        }
        found = contradiction(JobFilter.model_construct(**conditions))
        if found is None:
            return JobFilter.model_validate(conditions)
        start, end = max((self._places[name] for name in found.names if name in self._places), default=(0, len(query)))
        raise InvalidQuery([_error(query, _Wrong(start, end, f"{NO_JOB}: {found.why}"))])


def _refuse_habits(term: _Term) -> None:
    for value in term.values:
        instead = None if value.quoted else search_habits.of_value(value.written, of_payload=term.key == "payload")
        if instead is not None:
            raise _Wrong(value.start, value.end, f"{term.key}: {instead}")


def _extend(values: dict[Any, None], term: _Term, read: Callable[[_Value], object]) -> None:
    for value in term.values:
        values[read(value)] = None
    if len(values) > MAX_VALUES:
        raise _Wrong(term.start, term.end, f"at most {MAX_VALUES} values can be given at once")


def _checked(key: str, value: _Value, *, negated: bool) -> object:
    text = value.text.upper() if key == "status" else value.text
    if key in {"id", "fingerprint"}:
        text = text.lower()
    if key == "kind":
        text += "*" * value.starred
    else:
        _refuse_star(key, value)
    model: type[Excluded | JobFilter] = Excluded if negated else JobFilter
    try:
        return getattr(model.model_validate({key: (text,)}), key)[0]
    except ValidationError as error:
        raise _Wrong(value.start, value.end, f"{key}: {_hint(key, value.text) or _plain(error)}") from error


def _hint(key: str, text: str) -> str | None:
    if key != "status":
        return _HOW.get(key)
    near = difflib.get_close_matches(text.upper(), list(JobStatus), 1, 0.55)
    known = ", ".join(status.lower() for status in JobStatus)
    return f"did you mean {near[0].lower()}? There are {known}" if near else f"there are {known}"


def _words(value: _Value) -> Words:
    if not value.quoted and "*" in value.text:
        raise _Wrong(value.start, value.end, "a * may stand at the end only; quotes search for it as it is")
    try:
        return Words(text=value.text, prefix=value.starred)
    except ValidationError as error:
        raise _Wrong(value.start, value.end, _plain(error)) from error


def _payload_value(value: _Value) -> PayloadValue:
    _refuse_star("payload", value)
    try:
        return PayloadValue(text=value.text, quoted=value.quoted)
    except ValidationError as error:
        raise _Wrong(value.start, value.end, f"payload: {_plain(error)}") from error


def _refuse_star(key: str, value: _Value) -> None:
    if key == "id" and value.starred:
        raise _Wrong(value.start, value.end, "id: ids are compared from their beginning anyway, leave the * out")
    if value.starred or (not value.quoted and "*" in value.text):
        raise _Wrong(value.start, value.end, f"{key} takes whole values: a * is for kind, error and free text only")


def _term(query: str, start: int) -> _Term:
    """The term at a position.

    Raises:
        _Wrong: it is not written as terms are.
    """
    control = _CONTROL.search(query, start)
    if control is not None and control.start() == start:
        raise _Wrong(start, start + 1, "a control character means nothing here")
    negated = query[start] == "-"
    at = start + negated
    key = _KEY.match(query, at)
    if key is None:
        value = _value(query, at, _WORD)
        return _ended(query, _Term(negated, None, (), (value,), start, value.end))
    path = tuple(
        _unescaped(quoted) if plain is None else plain
        for quoted, plain in ((part[1], part[2]) for part in _SEGMENT.finditer(key[2]))
    )
    values = [_value(query, key.end(), _PLAIN, f"{key[1]} needs a value, e.g. {_example(key[1])}")]
    while query[values[-1].end : values[-1].end + 1] == ",":
        values.append(_value(query, values[-1].end + 1, _PLAIN, "after a comma comes another value, without a space"))
    return _ended(query, _Term(negated, key[1], path, tuple(values), start, values[-1].end))


def _value(query: str, start: int, plain: re.Pattern[str], missing: str = "") -> _Value:
    if query[start : start + 1] == '"':
        quoted = _QUOTED.match(query, start)
        if quoted is None:
            raise _Wrong(start, len(query), "the quotes are not closed")
        starred = query[quoted.end() : quoted.end() + 1] == "*"
        return _Value(_unescaped(quoted[1]), quoted=True, starred=starred, start=start, end=quoted.end() + starred)
    match = plain.match(query, start)
    if match is None:
        raise _Wrong(max(0, start - 1), start, missing or "nothing follows the -")
    starred = match[0].endswith("*") and match[0] != "*"
    return _Value(
        match[0].removesuffix("*") if starred else match[0], quoted=False, starred=starred, start=start, end=match.end()
    )


def _ended(query: str, term: _Term) -> _Term:
    following = query[term.end : term.end + 1]
    if following and not following.isspace():
        raise _Wrong(term.start, term.end + 1, "a space is missing, or quotes around the whole value")
    return term


def _unknown(key: str) -> str:
    near = _OTHER_NAMES.get(key.lower()) or next(iter(difflib.get_close_matches(key.lower(), KEYS, 1, 0.6)), None)
    hint = f'did you mean "{near}"?' if near else f"there are {', '.join(KEYS)}."
    return f'there is no key "{key}": {hint} To search for the text itself, put it in quotes'


def _example(key: str) -> str:
    examples = {"status": "status:failed", "older": "older:2h", "created": "created:2026-11-01..2026-11-02"}
    return examples.get(key, f'{key}:value or {key}:"a value"')


def _key_end(term: _Term) -> int:
    return term.values[0].start


def _after_space(query: str, position: int) -> int:
    match = _SPACE.match(query, position)
    return match.end() if match else position


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _error(query: str, wrong: _Wrong) -> TokenError:
    return TokenError(
        position=wrong.start, length=wrong.end - wrong.start, token=query[wrong.start : wrong.end], msg=wrong.msg
    )


def _plain(error: ValidationError) -> str:
    [told, *_] = error.errors(include_input=False, include_url=False, include_context=False)
    if told["type"] == "string_pattern_mismatch":
        return "it has a character that means nothing here, such as a control character"
    return told["msg"].removeprefix("Value error, ")
