"""The query that means a filter: the way back from `search_grammar.parse`."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from jobplane.contracts import search_habits
from jobplane.contracts.job_filter import Excluded, JobFilter, PayloadIs, PayloadValue, Words
from jobplane.contracts.search_values import told_age, told_bounds, told_span

_LISTS: Final = ("status", "queue", "kind", "tag", "worker", "actor", "asset", "fingerprint", "id")
_SIMPLE: Final = re.compile(r"[\w./@][\w./@-]*")
_SIMPLE_NAME: Final = re.compile(r"[\w-]+")


def formatted(wanted: JobFilter) -> str:
    """A query that means this filter: `parse(formatted(f)) == f`; parts of a second of an age are not told."""
    return " ".join(
        (
            *_lists(wanted),
            *_ranges(wanted),
            *map(_place, wanted.payload),
            *map(_words, wanted.text),
            *_excluded(wanted.excluded),
        )
    )


def _lists(wanted: JobFilter) -> Iterator[str]:
    for name in _LISTS:
        yield from _list(name, getattr(wanted, name))
    if wanted.error:
        yield f"error:{','.join(map(_words, wanted.error))}"


def _excluded(excluded: Excluded) -> Iterator[str]:
    for name in Excluded.model_fields:
        yield from (f"-{part}" for part in _list(name, getattr(excluded, name)))


def _ranges(wanted: JobFilter) -> Iterator[str]:
    for name in ("created", "started", "finished", "run_at"):
        if (stretch := getattr(wanted, name)) is not None:
            yield from (f"{name}:{part}" for part in told_span(stretch))
    for name in ("older", "newer"):
        if (duration := getattr(wanted, name)) is not None:
            yield f"{name}:{told_age(duration)}"
    for name in ("attempt", "priority"):
        if (stretch := getattr(wanted, name)) is not None:
            yield from (f"{name}:{part}" for part in told_bounds(stretch))


def _place(one: PayloadIs) -> str:
    path = ".".join(name if _SIMPLE_NAME.fullmatch(name) else _in_quotes(name) for name in one.path)
    return f"payload.{path}:{','.join(map(_compared, one.values))}"


def _compared(value: PayloadValue) -> str:
    text = value.text
    as_it_is = not value.quoted and _SIMPLE.fullmatch(text) and search_habits.of_value(text, of_payload=True) is None
    return text if as_it_is else _in_quotes(text)


def _list(name: str, values: Iterable[str]) -> Iterator[str]:
    told = [str(value).lower() if name == "status" else _value(value, star=name == "kind") for value in values]
    if told:
        yield f"{name}:{','.join(told)}"


def _value(text: str, *, star: bool) -> str:
    stem = text[:-1] if star and text.endswith("*") else text
    return text if _SIMPLE.fullmatch(stem) else _in_quotes(text)


def _words(words: Words) -> str:
    as_it_is = _SIMPLE.fullmatch(words.text) and search_habits.of_word(words.text, {}) is None
    told = words.text if as_it_is else _in_quotes(words.text)
    return told + "*" * words.prefix


def _in_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
